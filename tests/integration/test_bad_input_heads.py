"""Request heads that are odd, slow or too large; and paths and methods that do not exist."""

import json
import time

import pytest

from tests.product import EMAIL, Product
from tests.refusals import CANARY, assert_refused, check_shape
from tests.wire import Wire, assert_wire_refused, head

BODY = json.dumps(EMAIL).encode()
pytestmark = pytest.mark.one_engine


# -- 9 to 14: heads -------------------------------------------------------------------------------------------------


def test_row_09_head_that_trickles_and_others_that_do_not_notice(impatient: Product) -> None:
    slow = [Wire(impatient.port) for _ in range(20)]
    try:
        for wire in slow:
            wire.send(b"GET /emails HTTP/1.1\r\nX-A: ")
        assert impatient.submit()
        began = time.monotonic()
        assert_wire_refused(slow[0].read_answer(), 408)
        assert slow[0].is_closed()
        assert time.monotonic() - began < 3
    finally:
        for wire in slow:
            wire.close()


@pytest.mark.parametrize("nothing", [b"", b"\r\n\r\n"])
def test_row_09_connection_without_a_request_is_closed(impatient: Product, nothing: bytes) -> None:
    with Wire(impatient.port) as wire:
        wire.send(nothing)
        assert wire.is_closed(within=4)


def test_row_09_idle_connection_is_closed_after_its_answer(impatient: Product) -> None:
    with Wire(impatient.port) as wire:
        wire.send(head(impatient, method="GET"))
        assert wire.read_answer().status == 200
        assert wire.is_closed(within=4)


def test_row_09_connection_in_use_outlives_the_time_that_an_idle_one_has(impatient: Product) -> None:
    with Wire(impatient.port) as wire:
        for _ in range(4):
            wire.send(head(impatient, method="GET"))
            assert wire.read_answer().status == 200
            time.sleep(0.6)
        began = time.monotonic()
        assert wire.is_closed(within=4)
        assert time.monotonic() - began > 0.1


@pytest.mark.parametrize(
    "order", [("Content-Length: 5", "Transfer-Encoding: chunked"), ("Transfer-Encoding: chunked", "Content-Length: 5")]
)
def test_row_11_two_ways_to_say_the_length(product: Product, order: tuple[str, str]) -> None:
    before = product.count()
    with Wire(product.port) as wire:
        wire.send(head(product, *order) + b"0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n")
        assert_wire_refused(wire.read_answer(), 400)
        assert wire.is_closed()
    assert product.count() == before


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked, chunked",),
        ("Transfer-Encoding: xchunked",),
        ("X-A: a\rb",),
        ("X-A: a\0b",),
        (" X-A: folded",),
        ("X-A : blank",),
        ("no colon",),
    ],
)
def test_row_11_malformed_heads(product: Product, lines: tuple[str, ...]) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, *lines) + b"0\r\n\r\n")
        answer = wire.read_answer()
        assert 400 <= answer.status < 500
        check_shape(answer.json(), answer.status, "validation_error")


@pytest.mark.parametrize(
    "request_head",
    [
        "GET /emails HTTP/1.1\nHost: x\n\n",
        "GET /emails HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
        "GET /emails HTTP/1.1\r\nHost: x\r\n\n",
        "GET /livez\nHost: x\r\n\r\n",
    ],
)
def test_row_13_bare_line_feeds_in_the_head(impatient: Product, request_head: str) -> None:
    with Wire(impatient.port) as wire:
        wire.send(request_head.encode())
        assert wire.read_answer().status in (400, 408)
        assert wire.is_closed()


def test_row_13_head_in_pieces_and_line_feeds_in_the_body_are_fine(product: Product) -> None:
    body = json.dumps(EMAIL, indent=1).encode() + b"\n\n"
    whole = head(product, f"Content-Length: {len(body)}") + body
    for cut in (1, whole.index(b"\r\n") + 1, whole.index(b"\r\n\r\n") + 3, whole.index(b"\r\n\r\n") + 4):
        with Wire(product.port) as wire:
            wire.send(whole[:cut], whole[cut:], pause=0.05)
            assert wire.read_answer().status == 200


@pytest.mark.parametrize(
    "lines",
    [["X-A: " + "a" * 100_000], ["X-A: a"] * 1000, [f"X-{i}: {'a' * 1000}" for i in range(50)]],
    ids=["one of 100 KB", "1000", "50 KB together"],
)
def test_row_14_head_that_is_too_large(product: Product, lines: list[str]) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, *lines, method="GET"))
        assert_wire_refused(wire.read_answer(), 431)
        assert wire.is_closed()


def test_row_14_endless_head_line(product: Product) -> None:
    with Wire(product.port) as wire:
        wire.send(b"GET /emails?" + b"a" * 30_000, b"a" * 30_000, pause=0.05)
        assert_wire_refused(wire.read_answer(), 431)
        assert wire.is_closed()


def test_row_14_large_body_in_one_packet_with_its_head_is_no_large_head(product: Product) -> None:
    body = json.dumps(EMAIL | {"text": "x" * 200_000}).encode()
    with Wire(product.port) as wire:
        wire.send(head(product, f"Content-Length: {len(body)}") + body)
        assert wire.read_answer().status == 200


# -- 16: paths and methods


@pytest.mark.parametrize("path", ["/emails/", "/EMAILS", "/nothing", f"/emails/{CANARY}/x"])
def test_row_16_unknown_paths_are_not_redirected(product: Product, path: str) -> None:
    assert_refused(product.request("POST", path, json=EMAIL), 404, "not_found")


def test_row_16_several_slashes_are_one(product: Product) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, f"Content-Length: {len(BODY)}", path="//emails") + BODY)
        assert wire.read_answer().status == 200


def test_connection_is_usable_after_a_refusal(product: Product) -> None:
    with product.client() as client:
        for content in (b"", b"{", b"[]", b'{"from": 1}'):
            assert_refused(
                client.post("/emails", content=content), 422, client.post("/emails", content=content).json()["name"]
            )
        assert client.post("/emails", json=EMAIL).status_code == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"\0" * 100,
        b"EHLO x\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_garbage_is_400_or_closed(product: Product, garbage: bytes) -> None:
    with Wire(product.port) as wire:
        wire.send(garbage)
        assert_wire_refused(wire.read_answer(), 400)
        assert wire.is_closed()


@pytest.mark.parametrize("target", ["*", "http://x/emails", "/\xff", "/%ff", "/emails?%ff", "//", "http://"])
def test_odd_request_targets(product: Product, target: str) -> None:
    with Wire(product.port) as wire:
        lines = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {product.key}\r\n\r\n"
        wire.send(lines.encode("latin-1"))
        assert wire.read_answer().status in (200, 400, 404, 422)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "PROPFIND", "get", "X"])
def test_odd_methods(product: Product, method: str) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, method=method))
        assert wire.read_answer().status in (400, 405)


def test_request_to_upgrade_is_served_as_it_is(product: Product) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, "Connection: Upgrade", "Upgrade: websocket", method="GET"))
        assert wire.read_answer().status == 200


def test_pipelined_requests_are_answered_in_order_up_to_the_broken_one(product: Product) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, method="GET") + head(product, method="GET", path="/nothing") + b"garbage\r\n\r\n")
        assert [wire.read_answer().status for _ in range(2)] == [200, 404]
        assert wire.is_closed()
