"""Reads a request body: its type and coding checked, its length limited while it arrives, never inflated.

How long a client may take is the HTTP protocol's part.
"""

import re

from postroom.api.errors import Name, Refusal, unavailable
from postroom.api.exchange import Exchange
from postroom.api.load import Load
from postroom.errors import Overloaded

_JSON = re.compile(rb"(?:application/(?:[a-z0-9.!#$&^_-]+\+)?json|)[ \t]*(?:;.*)?", re.IGNORECASE)
CLOSE = {"connection": "close"}


class ClientGone(Exception):
    """The client closed the connection before its request was complete; there is nobody to answer."""


async def read(exchange: Exchange, *, limit: int, load: Load) -> bytes:
    """The whole body. Raises `Refusal` for a foreign type or coding, or for one that is too large, and `ClientGone`."""
    _check_type(exchange)
    _check_length(exchange, limit)
    if exchange.cycle and (body := exchange.cycle.arrived()) is not None:
        _count(exchange, len(body), limit, load)
        return body
    chunks: list[bytes] = []
    more = True
    while more:
        load.under_way -= 1  # while it waits for its client it does not count
        try:
            message = await exchange.receive()
        finally:
            load.under_way += 1
        if message["type"] != "http.request":
            raise ClientGone
        chunks.append(message.get("body", b""))
        _count(exchange, len(chunks[-1]), limit, load)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _count(exchange: Exchange, size: int, limit: int, load: Load) -> None:
    try:
        load.hold(exchange, size)
    except Overloaded as error:
        refusal = unavailable(str(error), retry_after_seconds=error.retry_after_seconds)
        refusal.headers |= CLOSE  # the rest of the body is not read
        raise refusal from error
    if exchange.held_bytes > limit:
        raise _too_large(limit)


def _check_type(exchange: Exchange) -> None:
    if exchange.headers.get(b"content-type") == b"application/json" and b"content-encoding" not in exchange.headers:
        return
    coding = exchange.headers.get(b"content-encoding", b"identity")
    if coding.strip().lower() not in (b"identity", b""):
        raise Refusal(415, Name.VALIDATION_ERROR, "a compressed body is not accepted; send it without Content-Encoding")
    if not _JSON.fullmatch(exchange.headers.get(b"content-type", b"").strip()):
        raise Refusal(415, Name.VALIDATION_ERROR, "the body must be JSON, with Content-Type application/json")


def _check_length(exchange: Exchange, limit: int) -> None:
    length = exchange.headers.get(b"content-length")
    if length is not None and (not length.isdigit() or len(length) > 18 or int(length) > limit):
        raise _too_large(limit)


def _too_large(limit: int) -> Refusal:
    message = f"the body is larger than {limit} bytes"
    return Refusal(413, Name.VALIDATION_ERROR, message, headers=CLOSE)
