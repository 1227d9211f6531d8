"""How a body that takes several pieces arrives: how fast, and how much of what arrives is body at all."""

from postroom.api.http.drain import SLOWEST_BYTES_A_SECOND

MOST_AROUND = 1024 * 1024  # bytes of chunk sizes, extensions and fields after the body, beside …
AROUND_EACH = 8  # … so many for each byte of the body; a chunk of one byte takes six


class Pace:
    """Counts the bytes of one body."""

    __slots__ = ("_around", "_began", "_bytes", "_seconds")

    def __init__(self, seconds: float) -> None:
        """`seconds` is how often the speed is looked at."""
        self._seconds = seconds
        self._began, self._bytes, self._around = 0.0, 0, 0

    def begin(self, now: float) -> None:
        """A head is complete."""
        self._began, self._bytes, self._around = now, 0, 0

    def decoded(self, size: int) -> None:
        """So many bytes of body were in what has arrived or is about to be counted."""
        self._around -= size * (1 + AROUND_EACH)

    def is_slow(self, size: int, now: float) -> bool:
        """Counts what has arrived; whether the body takes too long since the last look."""
        self._bytes += size
        self._around += size
        taken = now - self._began
        if taken <= self._seconds:
            return False
        slow = self._bytes < taken * SLOWEST_BYTES_A_SECOND
        self._began, self._bytes = now, 0
        return slow

    @property
    def is_idle_talk(self) -> bool:
        """Whether too much of what arrives is not body."""
        return self._around > MOST_AROUND
