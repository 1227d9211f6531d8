"""A server's time, so that leases mean the same on every host: kept by its distance from our monotonic clock."""

import math
import time
from collections.abc import Callable
from datetime import datetime

from postroom.errors import StoreUnavailable
from postroom.store.non_decreasing import NonDecreasingTime, in_milliseconds

GOOD_FOR_SECONDS = 10.0
SOON_SECONDS = 1.0  # from question to answer; it takes longer only where this process or the link stood still


class ServerClock:
    """UTC in whole milliseconds as the server has it; never goes back in this process, whatever the server's does."""

    def __init__(
        self, *, good_for_seconds: float = GOOD_FOR_SECONDS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._good_for_seconds = good_for_seconds
        self._monotonic = monotonic
        self._difference: float | None = None  # seconds since 1970 by the server when the monotonic clock was 0
        self._good_until = -math.inf
        self._times = NonDecreasingTime()

    @property
    def known(self) -> bool:
        """Whether it has learnt the time at all."""
        return self._difference is not None

    @property
    def stale(self) -> bool:
        """Whether the difference should be measured again."""
        return self._monotonic() >= self._good_until

    def learn(self, server_seconds: float, *, asked_at: float, answered_at: float) -> None:
        """Takes in what the server's clock showed at some moment between the two monotonic times, if these are close
        together or nothing better is known.

        The server was asked about the middle. If that took long, nobody knows when, and what is sure is that its clock
        shows no less by now: too early is mended later, too late is not.
        """
        soon = answered_at - asked_at <= SOON_SECONDS
        if soon:
            self._good_until = answered_at + self._good_for_seconds
        if soon or self._difference is None:
            self._difference = server_seconds - ((asked_at + answered_at) / 2 if soon else answered_at)

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
        if self._difference is None:
            raise StoreUnavailable("the server has not told the time yet")
        monotonic = self._monotonic()
        return monotonic, monotonic + self._difference
