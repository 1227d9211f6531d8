"""A store that is slow or hangs: every answer comes within three seconds, whatever a request asks of it and however
many ask at once."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import assert_refused

PROMISED_SECONDS = 3.0
NOISE_SECONDS = 0.5  # the service shares its interpreter with all of the clients here
ASKING = 6  # requests of each kind at once, more than there are threads for

Ask = Callable[[], httpx.Response]


def answers_in_time(asks: Sequence[Ask]) -> list[httpx.Response]:
    """The answers of requests that are sent together, each on a connection of its own."""

    def timed(ask: Ask) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        return ask(), time.monotonic() - began

    with ThreadPoolExecutor(len(asks)) as pool:
        done = list(pool.map(timed, asks))
    late = [
        f"{answer.request.method} {answer.request.url.path}: {took:.2f} s"
        for answer, took in done
        if took > PROMISED_SECONDS + NOISE_SECONDS
    ]
    assert late == []
    return [answer for answer, _ in done]


def asked(product: Product, method: str, path: str, *, key: str | None = None, **more: Any) -> Ask:
    """A request that is ready to be sent."""

    def ask() -> httpx.Response:
        with product.client(key) as client:
            return client.request(method, path, **more)

    return ask


def test_many_of_every_kind_are_answered_in_time_while_the_store_hangs(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False) as product:
        email_id, new_key = product.submit(), product.make_key()
        asks = [
            asked(product, "POST", "/emails", json=EMAIL),
            asked(product, "POST", "/emails", json=EMAIL, key=new_key),
            asked(product, "POST", "/emails/batch", json=[EMAIL], key=new_key),
            asked(product, "GET", "/emails"),
            asked(product, "GET", f"/emails/{email_id}"),
            asked(product, "GET", f"/emails/{email_id}/raw", key=new_key),
            asked(product, "POST", f"/emails/{email_id}/retry"),
            asked(product, "PATCH", f"/emails/{email_id}", json={"scheduled_at": "in 1 hour"}, key=new_key),
            asked(product, "GET", "/api-keys"),
            asked(product, "GET", "/health", key=""),
        ]
        with engine.stuck(tmp_path):
            answers = answers_in_time(asks * ASKING)
        wrong = {answer.status_code for answer in answers} - {200, 422, 503}  # SQLite still reads
        assert wrong == set()
        for answer in answers:
            if answer.status_code == 503 and answer.request.url.path != "/health":
                assert_refused(answer, 503, "application_error")


@pytest.mark.one_engine
def test_what_the_look_up_of_the_key_took_is_not_waited_for_again(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()  # what the store waits for
    with running(engine, tmp_path, deliver=False) as product:
        email_id, store = product.submit(), product.postroom.store
        find_key, add, get_many = store.find_key, store.add, store.get_many

        def slow(*arguments: Any) -> Any:
            time.sleep(1.5)
            return find_key(*arguments)

        # Patched, for the wiring alone picks the store of a running product, and none of the real ones is so slow.
        monkeypatch.setattr(store, "find_key", slow)
        monkeypatch.setattr(store, "add", lambda *a, **kw: gate.wait() and add(*a, **kw))
        monkeypatch.setattr(store, "get_many", lambda *a: gate.wait() and get_many(*a))
        try:
            answers = answers_in_time(
                [
                    asked(product, "POST", "/emails", json=EMAIL),  # its key is known, so it waits for the commit alone
                    asked(product, "POST", "/emails", json=EMAIL, key=product.make_key()),
                    asked(product, "GET", f"/emails/{email_id}", key=product.make_key()),
                ]
            )
        finally:
            gate.set()
        for answer in answers:
            assert_refused(answer, 503, "application_error")
        monkeypatch.undo()
        product.wait_until(lambda: product.count() == 3)  # the store did not confirm in time, and nothing was lost
