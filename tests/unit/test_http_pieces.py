"""What arrives on a connection in pieces whose ends matter: fed by hand, because a socket cuts where it likes."""

import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from postroom.api.http.protocol import GuardedProtocol, Limits


class Line(asyncio.Transport):
    """The server's end of a connection, which keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Nothing is read here anyway."""

    def resume_reading(self) -> None:
        """As above."""


def request(size: int) -> bytes:
    """A submission of so many bytes."""
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b" " * size


def test_body_that_waits_is_not_charged_to_the_one_behind_it() -> None:
    async def scenario() -> Line:
        go_on, answered = asyncio.Event(), asyncio.Semaphore(0)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await go_on.wait()  # as while a key is looked up
            while (await receive())["more_body"]:
                pass
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            answered.release()

        config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None)
        limits = Limits(connections=1, head_seconds=10, body_seconds=10)
        protocol, line = GuardedProtocol(config, ServerState(), {}, limits=limits), Line()
        protocol.connection_made(line)
        both = request(200_000) * 2
        for piece in (both[:150_000], both[150_000:200_200], both[200_200:]):
            protocol.data_received(piece)
        go_on.set()
        for _ in range(2):
            await asyncio.wait_for(answered.acquire(), 10)
        protocol.connection_lost(None)
        return line

    assert asyncio.run(scenario()).written.count(b"HTTP/1.1 200 ") == 2
