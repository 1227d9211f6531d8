"""Bodies that are odd before their JSON is looked at: types, codings, lengths, pace, and clients that go away."""

import gzip
import json
import logging
import resource
import time
import zlib
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import CANARY, assert_refused
from tests.wire import Wire, assert_wire_refused, head

BODY = json.dumps(EMAIL).encode()
LIMIT = 1_000_000


# -- 1 to 8: bodies -----------------------------------------------------------------------------------------------


@pytest.mark.one_engine
def test_row_01_empty_body(product: Product) -> None:
    before = product.count()
    body = assert_refused(product.request("POST", "/emails", content=b""), 422, "validation_error")
    assert "empty" in body["message"]
    assert product.count() == before


@pytest.mark.one_engine
@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/json", "json", CANARY],
)
def test_row_02_foreign_content_types(product: Product, content_type: str) -> None:
    before = product.count()
    for path in ("/emails", "/emails/batch", "/api-keys"):
        answer = product.request("POST", path, content=BODY, headers={"Content-Type": content_type})
        assert_refused(answer, 415, "validation_error")
    assert product.count() == before


@pytest.mark.one_engine
def test_row_04_byte_order_mark(product: Product) -> None:
    assert_refused(product.request("POST", "/emails", content=b"\xef\xbb\xbf" + BODY), 422, "validation_error")
    assert_refused(product.request("POST", "/emails", content=BODY.decode().encode("utf-16")), 422, "validation_error")


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("br", BODY),
        ("zstd", BODY),
        ("gzip, identity", BODY),
        ("gzip", gzip.compress(b"\0" * 50_000_000)),
    ],
    ids=["gzip", "deflate", "br", "zstd", "list", "bomb"],
)
def test_row_05_compressed_bodies_are_never_inflated(product: Product, coding: str, body: bytes) -> None:
    before = product.count()
    answer = product.request("POST", "/emails", content=body, headers={"Content-Encoding": coding})
    assert_refused(answer, 415, "validation_error")
    assert product.count() == before


@pytest.mark.one_engine
def test_row_05_identity_is_no_coding(product: Product) -> None:
    answer = product.request("POST", "/emails", content=BODY, headers={"Content-Encoding": "identity"})
    assert answer.status_code == 200


@pytest.mark.one_engine
def test_row_06_length_over_the_limit_is_refused_before_the_body_is_read(impatient: Product) -> None:
    with Wire(impatient.port) as wire:
        wire.send(head(impatient, f"Content-Length: {LIMIT + 1}"))
        answer = wire.read_answer()
        assert_wire_refused(answer, 413)
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()


@pytest.mark.one_engine
@pytest.mark.parametrize("length", ["9" * 19, "9" * 30, "-1", "1 2", "0x10", ""])
def test_row_06_absurd_lengths(impatient: Product, length: str) -> None:
    with Wire(impatient.port) as wire:
        wire.send(head(impatient, f"Content-Length: {length}"))
        assert wire.read_answer().status in (400, 413)
        assert wire.is_closed()


@pytest.mark.one_engine
def test_row_06_client_that_sends_all_first_still_reads_its_answer(impatient: Product) -> None:
    answer = impatient.request("POST", "/emails", content=b"x" * (20 * LIMIT))
    assert_refused(answer, 413, "validation_error")


@pytest.mark.one_engine
def test_row_07_chunked_body_that_passes_the_limit(impatient: Product) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with Wire(impatient.port) as wire:
        wire.send(head(impatient, "Transfer-Encoding: chunked"), *([chunk] * 17))
        assert_wire_refused(wire.read_answer(), 413)
        assert wire.is_closed()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.one_engine
def test_row_08_body_that_never_comes(impatient: Product) -> None:
    with Wire(impatient.port) as wire:
        wire.send(head(impatient, "Content-Length: 100") + b'{"from": "')
        began = time.monotonic()
        assert_wire_refused(wire.read_answer(), 408)
        assert 0.5 < time.monotonic() - began < 3
        assert wire.is_closed()
    assert impatient.submit()


@pytest.mark.one_engine
def test_row_08_body_that_trickles(impatient: Product) -> None:
    with Wire(impatient.port) as wire:
        wire.send(head(impatient, f"Content-Length: {len(BODY)}"))
        began = time.monotonic()
        with suppress(ConnectionError):
            wire.send(*(BODY[i : i + 1] for i in range(30)), pause=0.1)
        assert_wire_refused(wire.read_answer(), 408)
        assert time.monotonic() - began < 6


# -- 15: clients that go away ------------------------------------------------------------------


def test_row_15_client_that_closes_in_mid_body_leaves_no_trace(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(engine, tmp_path, deliver=False) as product, caplog.at_level(logging.INFO):
        for sent in (b"", b'{"from": "a'):
            with Wire(product.port) as wire:
                wire.send(head(product, "Content-Length: 100") + sent)
                time.sleep(0.1)
        assert product.submit()
        assert product.count() == 1
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_row_15_client_that_closes_before_its_answer_finds_it_by_its_key(product: Product) -> None:
    before = product.count()
    with Wire(product.port) as wire:
        wire.send(head(product, "Idempotency-Key: gone/1", f"Content-Length: {len(BODY)}") + BODY)
    deadline = time.monotonic() + 10
    while product.count() == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    again = product.request("POST", "/emails", json=EMAIL, headers={"Idempotency-Key": "gone/1"})
    assert again.headers["idempotent-replayed"] == "true"
    assert product.count() == before + 1
