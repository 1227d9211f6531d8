"""The system's time as a store's clock. Only a store asks; everybody else is handed `now`."""

import threading
from datetime import UTC, datetime

from postroom.mail.retry import in_whole_milliseconds


class SystemClock:
    """UTC in whole milliseconds that never goes back in this process, also when the system's clock is set back."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._latest = datetime.min.replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time now, or the latest time given out if that is later."""
        with self._gate:
            self._latest = max(self._latest, in_whole_milliseconds(datetime.now(UTC)))
            return self._latest


system_clock = SystemClock()
