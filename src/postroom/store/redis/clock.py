"""The server's time, kept by the difference to this process's monotonic clock, so that asking costs nothing."""

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from postroom.errors import StoreUnavailable

GOOD_FOR_SECONDS = 10.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ServerClock:
    """UTC in whole milliseconds as the server has it; never goes back in this process, whatever the server's does."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset: float | None = None
        self._learned_at = 0.0
        self._latest = (0, _EPOCH)  # in milliseconds since then, and as a time
        self._gate = threading.Lock()
        self._pid = os.getpid()

    @property
    def known(self) -> bool:
        """Whether it has learnt the time at all."""
        return self._offset is not None

    @property
    def stale(self) -> bool:
        """Whether the difference should be measured again, in whichever call comes next."""
        return self._offset is None or self._monotonic() - self._learned_at > GOOD_FOR_SECONDS

    def learn(self, server_seconds: float, *, asked_at: float, answered_at: float) -> None:
        """Takes in what the server's clock showed at some moment between the two monotonic times."""
        self._offset = server_seconds - (asked_at + answered_at) / 2
        self._learned_at = answered_at

    def __call__(self) -> datetime:
        """The time now, or the latest time given out if that is later. Raises `StoreUnavailable` before `learn`."""
        if self._offset is None:
            raise StoreUnavailable("Redis has not told the time yet")
        at = round((self._monotonic() + self._offset) * 1_000_000) // 1000
        latest = self._latest
        if at > latest[0]:  # else it is the same millisecond, and costs next to nothing
            latest = self._advance(at)
        return latest[1]

    def _advance(self, at: int) -> tuple[int, datetime]:
        if self._pid != os.getpid():  # a thread of the parent may have held the lock at the moment of the fork
            self._gate, self._pid = threading.Lock(), os.getpid()
        with self._gate:
            if at > self._latest[0]:
                self._latest = (at, _EPOCH + timedelta(milliseconds=at))
            return self._latest
