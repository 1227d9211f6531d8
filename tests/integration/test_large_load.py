"""Large bodies that do not come to an end and large answers that nobody reads take so much memory and no more, and keep
nobody else out."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import assert_refused
from tests.wire import head, wires

pytestmark = pytest.mark.one_engine

ROOM = 40_000_000
LARGE = 1_000_000  # bytes


@pytest.fixture
def product(engine: Engine, tmp_path: Path) -> Iterator[Product]:
    """With room for a few large requests at once."""
    environ = {"POSTROOM_MAX_BYTES_UNDER_WAY": str(ROOM)}
    with running(engine, tmp_path, deliver=False, environ=environ) as started:
        yield started


def submit(product: Product, key: str, size: int) -> int:
    """The status of an answer to an email of that size from that key."""
    attachments = [{"content": "A" * (size // 4 * 4), "filename": "a.bin"}]
    return product.request("POST", "/emails", json=EMAIL | {"attachments": attachments}, key=key).status_code


def test_bodies_that_do_not_come_to_an_end_keep_no_other_key_out(product: Product) -> None:
    other = product.make_key()
    started = head(product, f"Content-Length: {5 * LARGE}") + b" " * 4 * LARGE
    with wires(product, 20, started) as opened:
        product.wait_until(lambda: any(one.is_closed_or_answered() for one in opened))
        assert submit(product, product.key, 5 * LARGE) == 503
        assert submit(product, product.key, 1000) == 200
        assert submit(product, other, 1000) == 200
        assert submit(product, other, 5 * LARGE) == 200
    product.wait_until(lambda: submit(product, product.key, 5 * LARGE) == 200)


def test_answers_that_nobody_reads_are_limited(product: Product) -> None:
    """They must be larger than what the system takes for a connection."""
    content = base64.b64encode(bytes(9 * LARGE)).decode()
    email_id = product.submit(attachments=[{"content": content, "filename": "a.bin"}])
    with wires(product, 10, head(product, method="GET", path=f"/emails/{email_id}/raw")) as opened:
        product.wait_until(lambda: all(one.is_closed_or_answered() for one in opened))
        assert_refused(product.request("GET", f"/emails/{email_id}/raw"), 503, "application_error")
        assert product.request("GET", f"/emails/{email_id}").status_code == 200
        assert submit(product, product.key, 1000) == 200
        answers = [one.read_answer() for one in opened]
    read = [answer for answer in answers if answer.status == 200]
    assert 0 < len(read) < 10
    assert all(len(answer.body) > 12 * LARGE for answer in read)
    product.wait_until(lambda: product.request("GET", f"/emails/{email_id}/raw").status_code == 200)
