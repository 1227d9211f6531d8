"""The system's time as a store's clock. Only a store asks; everybody else is handed `now`."""

import time
from collections.abc import Callable
from datetime import datetime

from postroom.store.non_decreasing import NonDecreasingTime


class SystemClock:
    """UTC in whole milliseconds that never goes back in this process, also when the system's clock is set back."""

    def __init__(
        self, *, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._times = NonDecreasingTime()

    def __call__(self) -> datetime:
        """The time now; after the system's clock was set back, a later one that goes on at half its pace."""
        return self._times.at(self._wall(), monotonic=self._monotonic())


system_clock = SystemClock()
