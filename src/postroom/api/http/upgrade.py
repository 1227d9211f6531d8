"""A request that offers another protocol is a request like any other (RFC 9110 §7.8: the offer may be ignored).

Java's HTTP client and `curl --http2` offer HTTP/2 with each request in clear text. The parser ends such a request with
its head and takes what follows for the other protocol; so another goes on with the body, as if it had read the head.
"""

import contextlib
from collections.abc import Iterable
from typing import Protocol

import httptools

_FRAMING = (b"content-length", b"transfer-encoding")


class Listener(Protocol):
    """What a parser tells of requests."""

    def on_message_begin(self) -> None:
        """A request begins."""

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field."""

    def on_headers_complete(self) -> None:
        """Its head is complete."""

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""

    def on_message_complete(self) -> None:
        """It has arrived."""


def framing_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The line that says how long the body is; none, of no body."""
    lines = [b"%s: %s\r\n" % (name, value) for name, value in headers if name in _FRAMING and value.strip(b"0")]
    return b"".join(lines)


def go_on(listener: Listener, framing: bytes) -> httptools.HttpRequestParser:
    """A parser for what comes after a head with this framing, and for all further requests."""
    if not framing:
        return httptools.HttpRequestParser(listener)
    after_head = _AfterHead(listener)
    parser = httptools.HttpRequestParser(after_head)
    with contextlib.suppress(httptools.HttpParserError):  # it says so again when it is fed with what follows
        parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
    after_head.silent = False
    return parser


class _AfterHead:
    """Tells everything but the head that is fed first."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.silent = True
        self.on_body, self.on_message_complete = listener.on_body, listener.on_message_complete

    def on_message_begin(self) -> None:
        if not self.silent:
            self._listener.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self.silent:
            self._listener.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.silent:
            self._listener.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self.silent:
            self._listener.on_headers_complete()
