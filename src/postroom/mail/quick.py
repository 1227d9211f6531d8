"""Frozen dataclasses that are cheap to make and to copy.

Their own `__init__` calls `object.__setattr__` for each field, and a submission or a claim has about a hundred. Here an
object is open while it is made, so that its fields are simply assigned, and closed from then on.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T")


def changed(value: T, changes: Mapping[str, object]) -> T:
    """A copy of a quick dataclass with these changes: `dataclasses.replace` in a third of the time."""
    return value.__replace__(**changes)  # type: ignore[attr-defined,no-any-return]  # `quick` makes it


def quick(frozen: type[T]) -> type[T]:
    """Replaces the `__init__` of a frozen, slotted dataclass by one that does the same in a third of the time, and adds
    what `changed` needs. The class must have no `__post_init__`."""
    unguarded = {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    opened = type(frozen.__name__, (frozen,), unguarded)
    names: dict[str, Any] = {
        "frozen": frozen,
        "opened": opened,
        "MISSING": MISSING,
        "set_class": vars(object)["__class__"].__set__,
        "new": object.__new__,
    }
    parameters, assignments = ["self"], []
    for field in fields(frozen):  # type: ignore[arg-type]  # is a dataclass
        name, parameter, value = field.name, field.name, field.name
        if field.default is not MISSING:
            names[f"default_{name}"] = field.default
            parameter = f"{name}=default_{name}"
        elif field.default_factory is not MISSING:
            names[f"make_{name}"] = field.default_factory
            parameter, value = f"{name}=MISSING", f"make_{name}() if {name} is MISSING else {name}"
        if field.kw_only and "*" not in parameters:
            parameters.append("*")
        parameters.append(parameter)
        assignments.append(f"    self.{name} = {value}")
    initialise = (
        f"def __init__({', '.join(parameters)}):",
        "    set_class(self, opened)",
        *assignments,
        "    self.__class__ = frozen",
    )
    made_of = [field.name for field in fields(frozen)]  # type: ignore[arg-type]  # is a dataclass
    copy = (
        f"def __replace__(self, *, {', '.join(f'{name}=MISSING' for name in made_of)}):",
        "    copy = new(opened)",
        *(f"    copy.{name} = self.{name} if {name} is MISSING else {name}" for name in made_of),
        "    copy.__class__ = frozen",
        "    return copy",
    )
    exec("\n".join((*initialise, *copy)), names)  # noqa: S102  # as the standard library makes it: of the names of fields
    for method in ("__init__", "__replace__"):
        setattr(frozen, method, names[method])
    return frozen
