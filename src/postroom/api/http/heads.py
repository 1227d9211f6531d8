"""What the parser lets pass in a head: its size, two lengths of one body, lines that others read differently."""

from collections.abc import Sequence

from postroom.api.errors import Refusal
from postroom.api.http import refusals

MOST_BYTES = 32 * 1024
MOST_HEADERS = 100


def problem(size: int, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Refusal | None:
    """Why not to serve a request with this head. `size` is what has arrived of it, and perhaps of its body."""
    if size > MOST_BYTES:
        size = len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > MOST_BYTES or len(headers) > MOST_HEADERS:
        return refusals.head_too_large()
    names = dict(headers)
    if b"transfer-encoding" in names and b"content-length" in names:  # RFC 9112 §6.3: a sign of smuggling
        return refusals.malformed("a request has a Content-Length or a Transfer-Encoding, not both")
    return None


class HeadLines:
    """Looks at a head as it arrives, piece by piece."""

    __slots__ = ("_tail", "blanks")

    def __init__(self) -> None:
        self._tail = b""
        self.blanks = False  # whether a value may have blanks behind it, which do not belong to it (RFC 9110 §5.5)

    def take(self, data: bytes, goes_on: bool) -> bool:
        """Takes the next piece, which begins a head unless it `goes_on`; returns False if a line ends with LF alone."""
        if not goes_on:
            self._tail = b""
        before = len(self._tail)
        seen = self._tail + data
        end = seen.find(b"\r\n\r\n")
        end = len(seen) if end < 0 else end + 4
        self._tail = seen[-3:]
        if seen.find(b" \r\n", 0, end) >= 0 or seen.find(b"\t\r\n", 0, end) >= 0:
            self.blanks = True
        return seen.count(b"\n", before, end) == seen.count(b"\r\n", max(0, before - 1), end)

    def strip(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Takes blanks away from behind values."""
        self.blanks = False
        headers[:] = [(name, value.rstrip(b" \t")) for name, value in headers]
