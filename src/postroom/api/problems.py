"""What is wrong with a body, in the words of the API: all of it at once, each member by its path, no value repeated."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from postroom.api.errors import InvalidBody
from postroom.errors import InvalidAttachment, InvalidInput, MissingMember
from postroom.mail.email import Json

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

MOST_PROBLEMS = 100

_MEMBER = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Problems:
    """Collects what is wrong, so that a client hears of everything at once."""

    def __init__(self, found: Iterable[InvalidInput] = ()) -> None:
        self.found = [*found]

    def guard(self, rule: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What the rule returns; None, and a problem noted, when it raises."""
        try:
            return rule(*args, **kwargs)
        except InvalidInput as problem:
            self.found.append(problem)
            return None

    def note(self, problem: InvalidInput) -> None:
        """One more."""
        self.found.append(problem)

    def raise_any(self) -> None:
        """Raises `InvalidBody` when there are any."""
        if self.found:
            raise InvalidBody(self.found)


def shaped(model: type[M], value: Json, found: Sequence[InvalidInput] = ()) -> M:
    """The value as that schema. Raises `InvalidBody` with every member that has the wrong shape, after those that
    were found before."""
    if not isinstance(value, dict):
        raise InvalidBody([InvalidInput("", "a JSON object is needed")])
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidBody([*found, *_problems_of(error)]) from None


def _problems_of(error: ValidationError) -> list[InvalidInput]:
    listed = error.errors(include_url=False)
    return [_problem(_kind(one), one["loc"], one.get("ctx", {})) for one in listed[:MOST_PROBLEMS]]


def _kind(one: ErrorDetails) -> str:
    """A required member that is null is absent, as an optional one is."""
    return "missing" if one["input"] is None and len(one["loc"]) == 1 else one["type"]


def _problem(kind: str, location: Sequence[int | str], context: dict[str, object]) -> InvalidInput:
    member = _path(location)
    if kind == "missing":
        return MissingMember(member, "it is required")
    if location[0] == "attachments":
        return InvalidAttachment(member, _SAYING.get(kind, "has the wrong form").format(**context))
    if kind == "list_type" and member in _ADDRESSES:
        return InvalidInput(member, "must be an address or a list of addresses")
    return InvalidInput(member, _SAYING.get(kind, "has the wrong form").format(**context))


def _path(location: Sequence[int | str]) -> str:
    """`to[0]`, `attachments[2].content`; a name that is no plain name is not repeated."""
    path = ""
    if len(location) == 3 and location[0] in ("tags", "headers"):  # pairs, to pydantic; objects, to the client
        location = (*location[:2], ("name", "value")[location[2] == 1])
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _MEMBER.fullmatch(step):
            path += f".{step}" if path else step
    return path


_ADDRESSES = frozenset({"to", "cc", "bcc", "reply_to"})
_SAYING = {
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "tuple_type": "must be an object with name and value",
    "int_type": "must be a whole number",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_long": "has more than {max_length} members",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
}
