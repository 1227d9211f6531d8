"""Connections that send more than anybody needs, or as good as nothing, for as long as they are let."""

import logging

import pytest

from postroom.api.http.pace import MOST_AROUND
from postroom.api.http.protocol import MOST_PIPELINED
from tests.product import Product
from tests.wire import Wire, assert_wire_refused, head

pytestmark = pytest.mark.one_engine

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
EMAIL = b'{"from": "ann@example.com", "to": "bob@example.net", "subject": "s", "text": "t"}'


def answers_until_closed(wire: Wire) -> list[int]:
    """The statuses of all answers that come before the server closes."""
    found: list[int] = []
    while True:
        try:
            found.append(wire.read_answer().status)
        except (AssertionError, ConnectionError):
            return found


def test_some_requests_behind_one_another_are_answered_and_thousands_are_not_kept(product: Product) -> None:
    with Wire(product.port) as wire:
        wire.send(LIVE * MOST_PIPELINED)
        assert [wire.read_answer().status for _ in range(MOST_PIPELINED)] == [200] * MOST_PIPELINED
        wire.send(LIVE)
        assert wire.read_answer().status == 200
    with Wire(product.port) as wire:
        wire.send(LIVE * 2000)
        found = answers_until_closed(wire)
    assert set(found) == {200}
    assert MOST_PIPELINED <= len(found) < 2000


def test_endless_fields_after_a_body_are_cut_off(product: Product) -> None:
    with Wire(product.port) as wire:
        wire.send(head(product, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n", b"X: ")
        for _ in range(3 * MOST_AROUND // 65536):
            wire.send(b"a" * 65536, pause=0.002)
            if wire.is_closed_or_answered():
                break
        assert_wire_refused(wire.read_answer(), 400)


def test_chunks_of_one_byte_each_are_taken(product: Product) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in EMAIL) + b"0\r\n\r\n"
    with Wire(product.port) as wire:
        wire.send(head(product, "Transfer-Encoding: chunked") + body)
        assert wire.read_answer().status == 200


def test_body_that_began_quickly_must_go_on(impatient: Product) -> None:
    with Wire(impatient.port) as wire:
        wire.send(head(impatient, "Content-Length: 990000"), b"[" + b" " * 900_000)
        for _ in range(40):
            wire.send(b" ", pause=0.1)
            if wire.is_closed_or_answered():
                break
        assert_wire_refused(wire.read_answer(), 408)


@pytest.mark.parametrize("blank", [" ", "\t", " \t "])
def test_blanks_behind_a_value_are_no_part_of_it(product: Product, blank: str) -> None:
    ids = set()
    for key in ("Idempotency-Key: blanks" + blank, "Idempotency-Key: blanks"):
        with Wire(product.port) as wire:
            wire.send(head(product, f"Content-Length: {len(EMAIL)}{blank}", key) + EMAIL)
            answer = wire.read_answer()
            assert answer.status == 200
            ids.add(answer.json()["id"])
    assert len(ids) == 1


@pytest.mark.parametrize("coding", ["identity", "xchunked"])
def test_offer_with_a_framing_that_makes_no_sense_is_refused(
    product: Product, coding: str, caplog: pytest.LogCaptureFixture
) -> None:
    offer = ("Upgrade: h2c", "Connection: Upgrade", f"Transfer-Encoding: {coding}")
    with caplog.at_level(logging.ERROR), Wire(product.port) as wire:
        wire.send(head(product, *offer) + EMAIL)
        assert_wire_refused(wire.read_answer(), 400)
    assert caplog.records == []


def test_offer_without_a_body_is_answered_however_its_length_is_written(product: Product) -> None:
    offer = ("Upgrade: h2c", "Connection: Upgrade", "Content-Length: 00")
    with Wire(product.port) as wire:
        wire.send(head(product, *offer, method="GET", path="/livez") + LIVE)
        assert [wire.read_answer().status for _ in range(2)] == [200, 200]
