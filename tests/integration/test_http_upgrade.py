"""Requests that offer another protocol, as Java's HTTP client and `curl --http2` do: served as if they did not."""

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.product import EMAIL, Product
from tests.wire import Wire, assert_wire_refused, head

OFFER = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
)
BODY = json.dumps(EMAIL).encode()
SIZED = f"Content-Length: {len(BODY)}"
CHUNKED = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, BODY[:10], len(BODY) - 10, BODY[10:])
pytestmark = pytest.mark.one_engine


def cut(data: bytes, *places: int) -> Sequence[bytes]:
    """The pieces between these places."""
    bounds = [0, *places, len(data)]
    return [data[begin:end] for begin, end in pairwise(bounds)]


def asked(product: Product, kind: str) -> bytes:
    """A request with the offer and a body."""
    if kind == "sized":
        return head(product, *OFFER, SIZED) + BODY
    return head(product, *OFFER, "Transfer-Encoding: chunked") + CHUNKED


@pytest.mark.parametrize("kind", ["sized", "chunked"])
@pytest.mark.parametrize("from_the_end", [0, 1, 40, len(BODY) + 1, len(CHUNKED), len(CHUNKED) + 30])
def test_body_after_an_offer_is_read_wherever_it_is_cut(product: Product, kind: str, from_the_end: int) -> None:
    request = asked(product, kind)
    with Wire(product.port) as wire:
        for _ in range(2):
            wire.send(*cut(request, len(request) - from_the_end), pause=0.02)
            answer = wire.read_answer()
            assert (answer.status, answer.json()["object"]) == (200, "email")


def test_requests_behind_one_another_are_all_answered(product: Product) -> None:
    plain = head(product, SIZED) + BODY
    listing = head(product, *OFFER, method="GET")
    with Wire(product.port) as wire:
        wire.send(asked(product, "sized") + plain + listing + asked(product, "chunked") + head(product, method="GET"))
        assert [wire.read_answer().status for _ in range(5)] == [200] * 5


def test_many_offers_in_one_piece_are_answered(product: Product) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, *OFFER, method="GET", path="/livez") * 100)
        assert {wire.read_answer().status for _ in range(100)} == {200}


def test_offer_does_not_lift_the_limits_of_a_body(impatient: Product) -> None:
    with Wire(impatient.port) as wire:
        wire.send(head(impatient, *OFFER, "Content-Length: 1000001"), b"x" * 1000)
        assert_wire_refused(wire.read_answer(), 413)
    with Wire(impatient.port) as wire:
        wire.send(head(impatient, *OFFER, SIZED), BODY[:10])
        assert_wire_refused(wire.read_answer(), 408)


def test_broken_chunk_after_an_offer_is_refused(product: Product) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, *OFFER, "Transfer-Encoding: chunked") + b"zz\r\n")
        assert_wire_refused(wire.read_answer(), 400)
        assert wire.is_closed()


def test_fields_after_the_body_are_not_taken_for_the_head(product: Product) -> None:
    chunked = CHUNKED.removesuffix(b"\r\n") + b"Authorization: Bearer pr_nobody\r\nIdempotency-Key: k\r\n\r\n"
    with Wire(product.port) as wire:
        for _ in range(2):
            wire.send(head(product, "Transfer-Encoding: chunked") + chunked)
            assert wire.read_answer().status == 200
