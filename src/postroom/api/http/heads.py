"""What the parser lets pass in a head: its size, its version, two lengths of one body, blanks behind values."""

from collections.abc import Sequence

from postroom.api.errors import Refusal
from postroom.api.http import refusals

MOST_BYTES = 32 * 1024
MOST_HEADERS = 100
VERSIONS = ("1.1", "1.0")


def problem(version: str, size: int, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Refusal | None:
    """Why not to serve a request with this head. `size` is what has arrived of it, and perhaps of its body."""
    if version not in VERSIONS:
        return refusals.malformed("a request is of HTTP/1.1 or HTTP/1.0")
    if size > MOST_BYTES:
        size = len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > MOST_BYTES or len(headers) > MOST_HEADERS:
        return refusals.head_too_large()
    names = dict(headers)
    if b"transfer-encoding" in names and b"content-length" in names:  # RFC 9112 §6.3: a sign of smuggling
        return refusals.malformed("a request has a Content-Length or a Transfer-Encoding, not both")
    return None


class HeadSize:
    """Counts the bytes of a head. The piece in which it begins may hold other things before it."""

    __slots__ = ("_before", "_piece", "_sure", "_unsure")

    def arrives(self, size: int, *, behind: bool) -> None:
        """A piece of so many bytes; whether a head that begins in it is behind something."""
        self._piece = size
        self._before = size if behind else 0

    def begins(self) -> None:
        """A head, in this piece; another one would be behind it."""
        self._sure, self._unsure = -self._before, self._before
        self._before = self._piece

    def goes_on(self) -> int:
        """The head does not end in this piece. Returns how many bytes are surely of it."""
        self._sure += self._piece
        return self._sure

    @property
    def most(self) -> int:
        """What a head that ends in this piece has at most."""
        return self._sure + self._unsure + self._piece


def may_have_blanks(data: bytes) -> bool:
    """Whether this piece of one or more heads may have blanks behind a value, which do not belong to it (RFC 9110
    §5.5)."""
    return b" \r" in data or b"\t\r" in data or data.endswith((b" ", b"\t"))


def strip(headers: list[tuple[bytes, bytes]]) -> None:
    """Takes blanks away from behind values."""
    headers[:] = [(name, value.rstrip(b" \t")) for name, value in headers]
