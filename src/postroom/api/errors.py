"""Refusals and faults as HTTP answers: the one shape, the closed set of names, and which error becomes which.

Existing clients know these names and no others (one takes a 4xx with another name for a success).
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import orjson

from postroom.api.response import JSON, Response
from postroom.errors import (
    EmailNotFound,
    InvalidAttachment,
    InvalidInput,
    MissingMember,
    NotOffered,
    OutcomeUnknown,
    Overloaded,
    StoreError,
    StoreFull,
    Unreadable,
    WrongState,
)

MOST_DETAILS = 20
STORE_RETRY_SECONDS = 2

PROBLEM_JSON = "application/problem+json"
_UNKNOWN = (
    "the store did not confirm, so the change may or may not have been made: repeat the request, a submission with the "
    "same Idempotency-Key"
)


class Name(StrEnum):
    """The names of refusals that Postroom uses, out of the set that clients know."""

    INVALID_IDEMPOTENCY_KEY = "invalid_idempotency_key"
    MISSING_API_KEY = "missing_api_key"
    RESTRICTED_API_KEY = "restricted_api_key"
    INVALID_API_KEY = "invalid_api_key"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INVALID_IDEMPOTENT_REQUEST = "invalid_idempotent_request"
    MISSING_REQUIRED_FIELD = "missing_required_field"
    VALIDATION_ERROR = "validation_error"
    INVALID_ATTACHMENT = "invalid_attachment"
    INVALID_PARAMETER = "invalid_parameter"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    APPLICATION_ERROR = "application_error"


class Refusal(Exception):
    """An answer that is not a success. `message` and `details` never repeat a value that the client sent."""

    def __init__(
        self,
        status: int,
        name: Name,
        message: str,
        *,
        details: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.message = message
        self.details = details
        self.headers = dict(headers or {})


class InvalidBody(Exception):
    """A body breaks rules; `problems` has each one, in the order of the members, at least one."""

    def __init__(self, problems: Sequence[InvalidInput]) -> None:
        super().__init__(str(problems[0]))
        self.problems = problems

    def message(self) -> str:
        """One sentence: what is not offered comes first, then what is absent, whose name is what clients look for."""
        return _sentence(_first(self.problems))


def refusal_of(error: Exception) -> Refusal | None:
    """What to answer for an error, or None when it is a bug."""
    match error:
        case Refusal():
            return error
        case InvalidBody():
            return _invalid(error.problems)
        case InvalidInput():
            return _invalid([error])
        case EmailNotFound():
            return not_found("no such email")
        case WrongState():
            return Refusal(422, Name.VALIDATION_ERROR, str(error))
        case Overloaded():
            return unavailable(str(error), retry_after_seconds=error.retry_after_seconds)
        case StoreError():
            return unavailable(_trouble_with(error))
    return None


def _trouble_with(error: StoreError) -> str:
    """What is wrong with the store, as a client is told."""
    match error:
        case OutcomeUnknown():
            return _UNKNOWN
        case StoreFull():
            return "the disk of the store is full and nothing was changed; try again once there is room"
        case Unreadable():
            return "this email cannot be read by this version, or not at all; it was not changed"
    return "the store does not answer and nothing was changed; try again"


def not_found(message: str) -> Refusal:
    """404."""
    return Refusal(404, Name.NOT_FOUND, message)


def not_served() -> Refusal:
    """404 for a path at which there is nothing: clients of Resend have methods for many more than there are here."""
    return not_found("nothing is served at this path; of Resend's API, there are /emails, /emails/batch and /api-keys")


def invalid_parameter(parameter: str, problem: str) -> Refusal:
    """422 for the path or the query."""
    detail = {"member": parameter, "message": problem}
    return Refusal(422, Name.INVALID_PARAMETER, f"{parameter}: {problem}", details=[detail])


def unavailable(message: str, *, retry_after_seconds: int = STORE_RETRY_SECONDS) -> Refusal:
    """503 with the time to come back."""
    return Refusal(503, Name.APPLICATION_ERROR, message, headers={"retry-after": str(retry_after_seconds)})


def unexpected() -> Refusal:
    """500: a bug, of which the client learns nothing but that it was not its fault."""
    return Refusal(500, Name.APPLICATION_ERROR, "something went wrong on our side")


def body_of(refusal: Refusal, request_id: str) -> bytes:
    """The JSON body of a refusal."""
    return orjson.dumps(
        {
            "statusCode": refusal.status,
            "name": refusal.name,
            "message": refusal.message,
            **({"details": list(refusal.details)} if refusal.details else {}),
            "request_id": request_id,
        }
    )


def answer(refusal: Refusal, *, request_id: str, accept: bytes) -> Response:
    """The answer, as problem+json (RFC 9457) for those, and only those, who name it in `Accept`."""
    if b"application/problem+json" not in accept.lower():
        content, media_type = body_of(refusal, request_id), JSON
    else:
        problem = {"type": "about:blank", "title": refusal.name, "status": refusal.status, "detail": refusal.message}
        content, media_type = orjson.dumps(problem | orjson.loads(body_of(refusal, request_id))), PROBLEM_JSON
    return Response(content, refusal.status, headers=refusal.headers, media_type=media_type)


def _invalid(problems: Sequence[InvalidInput]) -> Refusal:
    first = _first(problems)
    if isinstance(first, MissingMember):
        name = Name.MISSING_REQUIRED_FIELD
    elif isinstance(first, InvalidAttachment):
        name = Name.INVALID_ATTACHMENT
    else:
        name = Name.VALIDATION_ERROR
    details = [{"member": p.member, "message": p.problem} for p in problems[:MOST_DETAILS]]
    return Refusal(422, name, _sentence(first), details=details)


def _first(problems: Sequence[InvalidInput]) -> InvalidInput:
    for kind in (NotOffered, MissingMember):
        for problem in problems:
            if isinstance(problem, kind):
                return problem
    return problems[0]


def _sentence(problem: InvalidInput) -> str:
    if isinstance(problem, MissingMember):
        return f"Missing `{problem.member}` field: {problem.problem}."
    return f"{problem}."
