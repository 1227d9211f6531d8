"""Records that cannot be read, because they are damaged or a newer Postroom wrote them: one such harms no other."""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TypeVar

from postroom.errors import StoreError, Unreadable, WrongState

log = logging.getLogger(__name__)

Stored = TypeVar("Stored")
Value = TypeVar("Value")

PAUSE = timedelta(minutes=1)  # before it is tried again: by somebody newer, perhaps
FURTHER = 1000  # unreadable records at the front of an index, at most, behind which one call still looks
_MOST_PASSED_OVER = 10_000
_DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, WrongState)


def read(email_id: str, reader: Callable[[], Value]) -> Value:
    """What the reader makes of this email's record. Raises `Unreadable` when it is not as it should be."""
    try:
        return reader()
    except _DAMAGED as error:
        raise _damaged(email_id, error) from error


def readable(
    found: Iterable[Stored], reader: Callable[[Stored], Value], id_of: Callable[[Stored], str]
) -> Iterator[tuple[Stored, Value]]:
    """Each record with what the reader makes of it; one that cannot be read is reported and left out."""
    for record in found:
        try:
            value = reader(record)
        except StoreError as error:
            _report(id_of(record), error)
        except _DAMAGED as error:
            _report(id_of(record), _damaged(id_of(record), error))
        else:
            yield record, value


class PassedOver:
    """What a process could not read of an index in which it has to stay where it is: it is passed over for a while."""

    def __init__(self) -> None:
        self._until: dict[str, datetime] = {}

    def __len__(self) -> int:
        return len(self._until)

    def readable(
        self,
        found: Iterable[Stored],
        reader: Callable[[Stored], Value],
        id_of: Callable[[Stored], str],
        *,
        now: datetime,
    ) -> Iterator[tuple[Stored, Value]]:
        """As `readable`, but for what is passed over."""
        self._until = {email_id: until for email_id, until in self._until.items() if until > now}
        for record in found:
            email_id = id_of(record)
            if email_id in self._until:
                continue
            read = list(readable([record], reader, id_of))
            if not read and len(self._until) < _MOST_PASSED_OVER:
                self._until[email_id] = now + PAUSE
            yield from read


def _damaged(email_id: str, error: Exception) -> Unreadable:
    return Unreadable(f"email {email_id} is damaged in the store, or of a newer Postroom: {error!r}")


def _report(email_id: str, error: StoreError) -> None:
    log.error("email unreadable", extra={"email_id": email_id, "reason": str(error)})
