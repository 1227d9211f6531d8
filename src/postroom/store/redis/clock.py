"""The server's time, kept by the difference to this process's monotonic clock, so that asking costs nothing."""

import math
import time
from collections.abc import Callable
from datetime import datetime

from postroom.errors import StoreUnavailable
from postroom.store import measuring
from postroom.store.non_decreasing import NonDecreasingTime, in_milliseconds

GOOD_FOR_SECONDS = 10.0


class ServerClock:
    """UTC in whole milliseconds as the server has it; never goes back in this process, whatever the server's does."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset: float | None = None
        self._learned_at = -math.inf
        self._times = NonDecreasingTime()

    @property
    def known(self) -> bool:
        """Whether it has learnt the time at all."""
        return self._offset is not None

    @property
    def stale(self) -> bool:
        """Whether the difference should be measured again, in whichever call comes next."""
        return self._monotonic() - self._learned_at > GOOD_FOR_SECONDS

    def learn(self, server_seconds: float, *, asked_at: float, answered_at: float) -> None:
        """Takes in what the server's clock showed at some moment between the two monotonic times, if these are close
        together or nothing better is known."""
        in_time = measuring.in_time(asked_at=asked_at, answered_at=answered_at)
        if in_time or self._offset is None:
            self._offset = measuring.difference(server_seconds, asked_at=asked_at, answered_at=answered_at)
        if in_time:
            self._learned_at = answered_at

    def __call__(self) -> datetime:
        """The time now; after the server's clock was set back, a later one that goes on at half its pace. Raises
        `StoreUnavailable` before `learn`."""
        monotonic, seconds = self._now()
        return self._times.at(seconds, monotonic=monotonic)

    def as_set(self) -> datetime:
        """Like `__call__`, but goes back where the server's clock was set back."""
        return in_milliseconds(self._now()[1])

    def _now(self) -> tuple[float, float]:
        """The time by this host's monotonic clock, and the server's, in seconds since 1970."""
        if self._offset is None:
            raise StoreUnavailable("Redis has not told the time yet")
        monotonic = self._monotonic()
        return monotonic, monotonic + self._offset
