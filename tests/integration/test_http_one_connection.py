"""Requests that follow one another on one connection, as a proxy sends those of different clients: none changes what
becomes of the next."""

import json
import logging
from collections.abc import Sequence

import pytest

from postroom.api.http.cycle import MOST_DISCARDED_BYTES
from postroom.api.response import PIECE_BYTES
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


@pytest.mark.parametrize("blank", [" ", "\t"])
@pytest.mark.parametrize("before", [LIVE, b""], ids=["in one piece", "alone"])
def test_blanks_behind_a_value_are_no_part_of_it_whatever_came_before(
    product: Product, before: bytes, blank: str
) -> None:
    request = head(product, f"Content-Length: {len(BODY)}{blank}", f"X-Request-Id: sane{blank}") + BODY
    with Wire(product.port) as wire:
        wire.send(before + request + request)
        answers = [wire.read_answer() for _ in range(3 if before else 2)][-2:]
    assert [(one.status, one.headers["x-request-id"]) for one in answers] == [(200, "sane")] * 2


def test_heads_may_be_cut_anywhere_after_a_body(product: Product) -> None:
    first = head(product, SIZED) + BODY
    for cut in range(1, len(LIVE)):
        with Wire(product.port) as wire:
            wire.send(first + LIVE[:cut], LIVE[cut:])
            assert [wire.read_answer().status for _ in range(2)] == [200, 200]


def test_blank_lines_before_a_request_may_be_cut_anywhere(product: Product) -> None:
    for cut in range(1, 5):
        with Wire(product.port) as wire:
            wire.send(*((b"\r\n\r\n" + LIVE)[:cut], (b"\r\n\r\n" + LIVE)[cut:]), pause=0.01)
            assert wire.read_answer().status == 200


def test_requests_before_a_broken_body_are_answered(product: Product) -> None:
    submission = head(product, SIZED) + BODY
    broken = head(product, "Transfer-Encoding: chunked") + b"zz\r\n"
    with Wire(product.port) as wire:
        wire.send(submission + LIVE + submission + broken + LIVE)
        assert [wire.read_answer().status for _ in range(3)] == [200] * 3
        assert wire.is_closed()
    with Wire(product.port) as wire:
        wire.send(LIVE + broken + LIVE)
        assert wire.read_answer().status == 200
        assert wire.is_closed()


def test_client_of_http_1_0_is_not_told_to_continue(product: Product) -> None:
    request = head(product, SIZED, "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    with Wire(product.port) as wire:
        wire.send(request, BODY, pause=0.1)
        assert wire.read_answer().status == 200


@pytest.mark.parametrize(
    "framing",
    [
        f"Content-Length: {MOST_DISCARDED_BYTES + 1}",
        "Transfer-Encoding: chunked",
        "Content-Length: 1\r\nExpect: 100-continue",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_answer_before_a_body_that_may_never_be_read_says_that_the_connection_closes(
    product: Product, framing: str, method: str
) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, framing, path="/nothing", method=method))
        answer = wire.read_answer()
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        assert wire.is_closed()


def test_answer_before_a_short_body_leaves_the_connection_open(product: Product) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, f"Content-Length: {MOST_DISCARDED_BYTES}", path="/nothing"))
        answer = wire.read_answer()
        assert (answer.status, answer.headers.get("connection")) == (404, None)
        wire.send(b" " * MOST_DISCARDED_BYTES, LIVE)
        assert wire.read_answer().status == 200


def test_large_answer_before_a_long_body_says_that_the_connection_closes(product: Product) -> None:
    large = product.submit(text="a" * (PIECE_BYTES + 1))
    with Wire(product.port) as wire:
        wire.send(head(product, "Transfer-Encoding: chunked", path=f"/emails/{large}", method="GET"))
        answer = wire.read_answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_connection_is_idle_once_a_body_that_nobody_wanted_has_arrived(impatient: Product) -> None:
    with Wire(impatient.port) as wire:
        wire.send(head(impatient, SIZED, path="/nothing"))
        assert wire.read_answer().status == 404
        wire.send(BODY)
        assert wire.is_closed()


def test_head_that_begins_behind_a_large_body_is_no_large_head(product: Product) -> None:
    large = json.dumps(EMAIL | {"text": "a" * 60_000}).encode()
    submission = head(product, f"Content-Length: {len(large)}") + large
    with Wire(product.port) as wire:
        for cut in range(1, len(LIVE), 6):
            wire.send(submission + LIVE[:cut], LIVE[cut:], pause=0.05)
            assert [wire.read_answer().status for _ in range(2)] == [200, 200]


def test_client_that_goes_while_its_requests_wait_is_no_error(
    product: Product, caplog: pytest.LogCaptureFixture
) -> None:
    before = product.count()
    with caplog.at_level(logging.ERROR):
        for _ in range(20):
            with Wire(product.port) as wire:
                wire.send((head(product, SIZED) + BODY) * 2)
        product.wait_until(lambda: product.count() >= before + 20)
        product.submit()
    assert caplog.records == []


def test_broken_body_of_a_client_that_waits_for_a_100_is_no_error(
    product: Product, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), Wire(product.port) as wire:
        wire.send(head(product, "Transfer-Encoding: chunked", "Expect: 100-continue") + b"zz\r\n")
        assert_wire_refused(wire.read_answer(), 400)
        product.submit()
    assert caplog.records == []
