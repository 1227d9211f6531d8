"""Requests that follow one another on one connection, as a proxy sends those of different clients: none changes what
becomes of the next."""

import json
from collections.abc import Sequence

import pytest

from tests.product import EMAIL, Product
from tests.wire import Wire, assert_wire_refused, head

BODY = json.dumps(EMAIL).encode()
SIZED = f"Content-Length: {len(BODY)}"
CHUNKS = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
OFFER = ("Connection: Upgrade", "Upgrade: h2c")
pytestmark = pytest.mark.one_engine


@pytest.mark.parametrize("offer", [(), OFFER])
@pytest.mark.parametrize("field", ["Connection: close", "connection: x, close", "Proxy-Connection: close"])
def test_field_after_the_body_does_not_silence_the_connection(
    product: Product, field: str, offer: Sequence[str]
) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, "Transfer-Encoding: chunked", *offer) + CHUNKS + field.encode() + b"\r\n\r\n", LIVE)
        assert_wire_refused(wire.read_answer(), 400)
        assert wire.is_closed()


def test_field_after_a_body_that_nobody_wanted_does_not_silence_the_connection(product: Product) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, "Transfer-Encoding: chunked", path="/nothing"))
        assert wire.read_answer().status == 404
        wire.send(CHUNKS + b"Connection: close\r\n\r\n", LIVE)
        assert wire.is_closed()
