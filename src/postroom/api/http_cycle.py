"""One request and its answer, between the HTTP protocol and the application: uvicorn's, and two ways to be quick."""

from typing import Any

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from postroom.api.answer import WHOLE

_CLOSE = (b"connection", b"close")


class Cycle(RequestResponseCycle):
    """What the application receives from and sends to."""

    async def receive(self) -> ASGIReceiveEvent:
        """As uvicorn's; but a request that has arrived whole is carried out, also when its client has gone since."""
        if self.body and not self.more_body:
            self.flow.resume_reading()
            body, self.body = bytes(self.body), bytearray()
            return {"type": "http.request", "body": body, "more_body": False}
        return await super().receive()

    async def send(self, message: Any) -> None:
        """As uvicorn's; and takes a whole answer as one message, which costs a fraction."""
        if message["type"] != WHOLE:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.transport.write(self._written(message))
        self.response_started = self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _written(self, message: Any) -> bytes:
        headers = [*self.default_headers, *message["headers"]]
        if _CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(_CLOSE)
        parts = [STATUS_LINE[message["status"]]]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n", b"" if self.scope["method"] == "HEAD" else message["body"])
        return b"".join(parts)
