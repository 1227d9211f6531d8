"""One request and its answer, between the HTTP protocol and the application: uvicorn's, and two ways to be quick."""

import asyncio
from collections.abc import Callable, Iterable

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

MOST_DISCARDED_BYTES = 1024 * 1024  # of a body that nobody wanted, before the connection is given up

_CLOSE = (b"connection", b"close")


class Cycle(RequestResponseCycle):
    """What the application receives from and sends to."""

    async def receive(self) -> ASGIReceiveEvent:
        """As uvicorn's; but a request that has arrived whole is carried out, also when its client has gone since."""
        body = self.arrived()
        if body is None:
            self.waiting_for_100_continue &= not self._is_gone()
            return await super().receive()
        return {"type": "http.request", "body": body, "more_body": False}

    def arrived(self) -> bytes | None:
        """The body, if all of it is there and nobody has taken it yet: nothing has to be waited for then."""
        if self.more_body or not self.body:
            return None
        self.flow.resume_reading()
        body, self.body = bytes(self.body), bytearray()
        return body

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Sends a whole answer in one piece, at a fraction of the cost; False if the client must read first."""
        if self._is_gone():
            return True
        if self.flow.write_paused:
            return False
        if self.more_body:
            self._foresee_parting()
        self.transport.write(self._written(status, [*self.default_headers, *headers], body))
        self.response_started = self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True

    async def send(self, message: ASGISendEvent) -> None:
        """As uvicorn's."""
        if self.flow.write_paused and not self._is_gone():
            await self.flow.drain()
        if not self._is_gone() and self.more_body and not self.response_started:
            self._foresee_parting()
        await super().send(message)

    def _is_gone(self) -> bool:
        """Whether nobody can be told anything. Of the requests of a lost connection, only the last has heard of it."""
        self.disconnected = self.disconnected or self.transport.is_closing()
        return self.disconnected

    def _foresee_parting(self) -> None:
        """An answer before its body says that the connection will close, if that may be because of the body: a proxy
        would send the next request on it (RFC 9110 §10.1.1). Who waits for a 100 may never send the body, and whatever
        comes in its place would be taken for it."""
        length = next((value for name, value in self.scope["headers"] if name == b"content-length"), None)
        if self.waiting_for_100_continue or length is None or int(length) > MOST_DISCARDED_BYTES:
            self.keep_alive = False

    def _written(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        if _CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(_CLOSE)
        parts = [STATUS_LINE[status]]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n", b"" if self.scope["method"] == "HEAD" else body)
        return b"".join(parts)


class Trailers(list[tuple[bytes, bytes]]):
    """Fields after the body are nobody's (RFC 9110 §6.5.1), least of all the head's."""

    def append(self, field: tuple[bytes, bytes]) -> None:
        """Forgets it; an exception ends the parsing. The parser itself takes notice of `Connection: close` there, and
        would pass over all further requests; a proxy that lets it pass sends those of others on this connection."""
        if field[0] in (b"connection", b"proxy-connection"):
            raise ValueError("what is said of the connection belongs into the head")


class Parting:
    """What a request sees of its connection: closing it is parting."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, part: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = part
