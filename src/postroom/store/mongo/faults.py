"""Translates what the driver raises into our errors, once: one sentence that says what, which, and what now.

What BSON cannot hold is let through as it comes: it is a fault of one email, and its neighbours must not share it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias, TypeVar

from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

from postroom.errors import OutcomeUnknown, StoreError, StoreUnavailable

Result = TypeVar("Result")

Guard: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Of the steps of one kind; called with the server's name."""

_NOT_PRIMARY = 10107
_REFUSALS = {  # by code, https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
    13: "does not let this user read and write the database: grant it the role readWrite",
    18: "refuses the user or the password in the store's URL",
    8000: "refuses the user or the password in the store's URL",
    _NOT_PRIMARY: "has no primary at the moment: try again",
    14031: "has no room left on its disk: free some",
}
_DUPLICATE = 11000
_TIMED_OUT = frozenset({50, 64, 262})  # MaxTimeMSExpired, WriteConcernFailed, ExceededTimeLimit


@contextmanager
def asking(where: str) -> Iterator[None]:
    """For steps that write nothing, or nothing before they are through: every trouble is `StoreUnavailable`."""
    try:
        yield
    except PyMongoError as error:
        raise _translated(error, where) from _fit_to_show(error)


@contextmanager
def writing(where: str) -> Iterator[None]:
    """For steps that write at once: whenever the server may have got the request, trouble is `OutcomeUnknown`."""
    try:
        yield
    except PyMongoError as error:
        if _may_have_written(error):
            raise unknown(where) from _fit_to_show(error)
        raise _translated(error, where) from _fit_to_show(error)


def twice(write: Callable[[], Result]) -> Result:
    """Writes again if the link broke in the middle, which the driver itself dares for single documents only. The write
    must be one that changes nothing when it was carried out already. Where the second cannot be carried out, the doubt
    about the first remains."""
    try:
        return write()
    except AutoReconnect as error:
        try:
            return write()
        except PyMongoError as another:
            raise another if _may_have_written(another) else error from another


def is_duplicate(error: PyMongoError) -> bool:
    """Whether a write was refused because a document with its id is there already."""
    refused = (error.details or {}).get("writeErrors", []) if isinstance(error, BulkWriteError) else []
    return isinstance(error, DuplicateKeyError) or any(refusal["code"] == _DUPLICATE for refusal in refused)


def unknown(where: str) -> OutcomeUnknown:
    """For a write whose answer did not come."""
    return OutcomeUnknown(f"MongoDB at {where} did not answer in time: the write may or may not have happened")


def no_primary(where: str) -> StoreUnavailable:
    """For what a member refused because it was none just then."""
    return StoreUnavailable(f"MongoDB at {where} {_REFUSALS[_NOT_PRIMARY]}")


def _may_have_written(error: PyMongoError) -> bool:
    if isinstance(error, ServerSelectionTimeoutError | WaitQueueTimeoutError | ConfigurationError):
        return False  # it was never sent
    if isinstance(error, BulkWriteError | WriteConcernError):
        return True  # some of it was written, or all of it but not durably
    return not isinstance(error, OperationFailure) or error.code in _TIMED_OUT


def _fit_to_show(error: PyMongoError) -> PyMongoError | None:
    """What may stand in a traceback: the failure of a bulk write has the documents in it, contents and all."""
    return None if isinstance(error, BulkWriteError) else error


def _translated(error: PyMongoError, where: str) -> StoreError:
    server = f"MongoDB at {where}"
    if isinstance(error, ConfigurationError):
        return StoreError(f"the options in the store's URL do not suit {server}: {error}")
    if is_duplicate(error):
        return StoreError(f"{server} refuses to store something twice: {_reason(error)}")
    if isinstance(error, OperationFailure) and error.code not in _TIMED_OUT:
        refusal = _REFUSALS.get(error.code or 0)
        return StoreUnavailable(f"{server} {refusal or f'refuses ({error.code}): {_reason(error)}'}")
    if isinstance(error, WaitQueueTimeoutError):
        return StoreUnavailable(f"{server} is too busy: all connections to it were in use")
    if isinstance(error, ServerSelectionTimeoutError):
        return StoreUnavailable(f"{server} has no primary that can be reached: check that it runs, and the store's URL")
    return StoreUnavailable(f"{server} does not answer: check that it runs, and the network in between")


def _reason(error: PyMongoError) -> str:
    """The server's own words. The driver's have whole documents in them, which are nobody's business."""
    details = (error.details if isinstance(error, OperationFailure) else None) or {}
    words = [refusal["errmsg"] for refusal in details.get("writeErrors", [])] + [details.get("errmsg")]
    return next((str(word) for word in words if word), type(error).__name__)
