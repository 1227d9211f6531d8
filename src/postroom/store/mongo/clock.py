"""The server's time, so that leases mean the same on every host: asked now and then, in between kept by the monotonic
clock of this host. Nobody waits for it but who asks first."""

import math
import threading
import time
from collections.abc import Callable
from datetime import datetime

from pymongo.errors import PyMongoError

from postroom.store import measuring
from postroom.store.non_decreasing import NonDecreasingTime, in_milliseconds


class ServerClock:
    """UTC in whole milliseconds that never goes back in this process, also when the server's clock is set back."""

    def __init__(
        self,
        ask: Callable[[], datetime],
        *,
        sync_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` returns the server's time; it may raise `PyMongoError`."""
        self._ask = ask
        self._sync_seconds = sync_seconds
        self._monotonic = monotonic
        self._syncing = threading.Lock()
        self._zero: float | None = None  # seconds since 1970 by the server when this host's monotonic clock was 0
        self._sync_at = -math.inf
        self._times = NonDecreasingTime()

    def __call__(self) -> datetime:
        """The time now; after the server's clock was set back, a later one that goes on at half its pace. Raises
        `PyMongoError` only as long as the server was never reached; from then on it asks nobody itself, so that it may
        be called on an event loop."""
        monotonic, seconds = self._now()
        return self._times.at(seconds, monotonic=monotonic)

    def as_set(self) -> datetime:
        """Like `__call__`, but goes back where the server's clock was set back."""
        return in_milliseconds(self._now()[1])

    def _now(self) -> tuple[float, float]:
        """The time by this host's monotonic clock, and the server's, in seconds since 1970."""
        zero = self._zero or self._first_zero()
        monotonic = self._monotonic()
        if monotonic >= self._sync_at and self._syncing.acquire(blocking=False):
            threading.Thread(target=self._sync_again, name="store-clock", daemon=True).start()
        return monotonic, zero + monotonic

    def _first_zero(self) -> float:
        with self._syncing:
            return self._zero or self._sync()

    def _sync_again(self) -> None:
        """Ends the turn that `__call__` began."""
        try:
            self._sync()
        except PyMongoError:  # whoever needs the server next will report it; until then the old offset is good
            self._sync_at = self._monotonic() + self._sync_seconds
        finally:
            self._syncing.release()

    def _sync(self) -> float:
        """Takes in the server's time if it comes soon or nothing better is known; else it is asked for again."""
        asked_at = self._monotonic()
        server_seconds = self._ask().timestamp()
        answered_at = self._monotonic()
        in_time = measuring.in_time(asked_at=asked_at, answered_at=answered_at)
        if in_time or self._zero is None:
            self._zero = measuring.difference(server_seconds, asked_at=asked_at, answered_at=answered_at)
        if in_time:
            self._sync_at = answered_at + self._sync_seconds
        return self._zero
