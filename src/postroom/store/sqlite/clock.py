"""The system's time as a store's clock. Only a store asks; everybody else is handed `now`."""

import time
from datetime import datetime

from postroom.store.non_decreasing import NonDecreasingTime


class SystemClock:
    """UTC in whole milliseconds that never goes back in this process, also when the system's clock is set back."""

    def __init__(self) -> None:
        self._times = NonDecreasingTime()

    def __call__(self) -> datetime:
        """The time now, or the latest time given out if that is later."""
        return self._times.at(time.time())


system_clock = SystemClock()
