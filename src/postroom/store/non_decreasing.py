"""The time that a store's clock gives out: in whole milliseconds, as every store keeps it, and never an earlier one."""

import os
import threading
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NonDecreasingTime:
    """What one clock has given out. Safe for threads and forks."""

    def __init__(self) -> None:
        self._latest = (0, _EPOCH)  # in milliseconds since 1970, and as a time
        self._gate = threading.Lock()
        self._pid = os.getpid()

    def at(self, seconds: float) -> datetime:
        """UTC so many seconds after 1970, or the latest time given out if that is later."""
        milliseconds = round(seconds * 1_000_000) // 1000
        latest = self._latest
        if milliseconds > latest[0]:  # else it is there already: under load most are
            latest = self._advance(milliseconds)
        return latest[1]

    def _advance(self, milliseconds: int) -> tuple[int, datetime]:
        if self._pid != os.getpid():  # a thread of the parent may have held the lock at the moment of the fork
            self._gate, self._pid = threading.Lock(), os.getpid()
        with self._gate:
            if milliseconds > self._latest[0]:
                self._latest = (milliseconds, _EPOCH + timedelta(milliseconds=milliseconds))
            return self._latest
