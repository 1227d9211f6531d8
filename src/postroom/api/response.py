"""What a handler returns: status, headers and body, ready to be sent."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Send

from postroom.api.exchange import Exchange

JSON = "application/json"
PIECE_BYTES = 256 * 1024


class Response:
    """One answer. The framework's own class does the same, at several times the cost."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, body: bytes, status: int = 200, *, headers: Mapping[str, str] | None = None, media_type: str = JSON
    ) -> None:
        self.body = body
        self.status = status
        self.headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
        if headers:
            self.headers += [(name.encode(), value.encode()) for name, value in headers.items()]

    async def send_to(self, exchange: Exchange, send: Send) -> None:
        """Sends it: a small one in one piece where the server takes it so, a large one as fast as its client reads."""
        headers = self.headers + exchange.added
        small = len(self.body) <= PIECE_BYTES
        if small and exchange.cycle and exchange.cycle.answer(self.status, headers, self.body):
            return
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for start in range(0, len(self.body), PIECE_BYTES):
            piece = self.body[start : start + PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def as_json(value: Any, status: int = 200) -> Response:
    """A JSON answer; times as ISO 8601 with Z."""
    return Response(packed(value), status)


def packed(value: Any) -> bytes:
    """A value as JSON."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
