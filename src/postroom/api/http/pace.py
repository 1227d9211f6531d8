"""How a body that takes several pieces arrives: how fast, and how much of what arrives is body at all."""

from postroom.api.http.slow_reader import SLOWEST_BYTES_A_SECOND

MOST_AROUND = 1024 * 1024  # bytes of chunk sizes, extensions and fields after the body, beside …
AROUND_EACH = 8  # … so many for each byte of the body; a chunk of one byte takes six


class Pace:
    """Counts the bytes of one body."""

    __slots__ = ("_around", "_began", "_bytes", "_seconds")

    def __init__(self, seconds: float, now: float) -> None:
        """`seconds` is how often the speed is looked at."""
        self._seconds = seconds
        self._began, self._bytes, self._around = now, 0, 0

    def is_slow(self, size: int, now: float) -> bool:
        """Counts what has arrived; whether the body takes too long since the last look."""
        self._bytes += size
        taken = now - self._began
        if taken <= self._seconds:
            return False
        slow = self._bytes < taken * SLOWEST_BYTES_A_SECOND
        self._began, self._bytes = now, 0
        return slow

    def is_mostly_framing(self, size: int, decoded: int) -> bool:
        """Whether too much of what has arrived is not body; of these bytes, so many were."""
        self._around += size - decoded * (1 + AROUND_EACH)
        return self._around > MOST_AROUND
