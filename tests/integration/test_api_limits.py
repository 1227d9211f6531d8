"""Backpressure: refused in time, told when to come back, and fine again afterwards."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import assert_refused
from tests.wire import Wire, head, wires

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def test_full_backlog_refuses_submissions_and_nothing_else(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False, environ={"POSTROOM_MAX_BACKLOG": "3"}) as product:
        product.request("GET", "/health")  # counts: a count during a submission may or may not have it
        ids = [product.submit(scheduled_at="in 1 hour") for _ in range(3)]
        for path, payload in (("/emails", EMAIL), ("/emails/batch", [EMAIL])):
            answer = product.request("POST", path, json=payload)
            assert_refused(answer, 503, "application_error")
            assert int(answer.headers["retry-after"]) >= 1
        assert product.email(ids[0])["status"] == "scheduled"
        product.request("POST", f"/emails/{ids[0]}/cancel")
        began = time.monotonic()
        while product.request("POST", "/emails", json=EMAIL).status_code == 503:
            assert time.monotonic() - began < 5
            time.sleep(0.05)
        assert product.count() == 4


def test_batch_larger_than_the_room_is_refused_whole(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False, environ={"POSTROOM_MAX_BACKLOG": "5"}) as product:
        assert_refused(product.request("POST", "/emails/batch", json=[EMAIL] * 6), 503, "application_error")
        assert product.request("POST", "/emails/batch", json=[EMAIL] * 5).status_code == 200
        assert product.count() == 5


@pytest.mark.one_engine
def test_rate_of_one_key_is_limited_and_told(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False, environ={"POSTROOM_RATE_LIMIT": "5"}) as product:
        answers = [product.request("GET", "/emails") for _ in range(20)]
        limited = [answer for answer in answers if answer.status_code == 429]
        assert limited
        assert_refused(limited[0], 429, "rate_limit_exceeded")
        assert int(limited[0].headers["retry-after"]) >= 1
        for answer in answers:
            assert answer.headers["ratelimit-limit"] == "5"
            assert answer.headers["ratelimit-remaining"].isdigit()
            assert answer.headers["ratelimit-reset"].isdigit()
            assert answer.headers["ratelimit-policy"] == "5;w=1"
        assert product.request("GET", "/emails", key=product.make_key()).status_code == 200
        assert "ratelimit-limit" in product.request("GET", "/nothing", key=product.make_key()).headers


@pytest.mark.one_engine
def test_without_a_limit_there_are_no_rate_headers(product: Product) -> None:
    assert not [name for name in product.request("GET", "/emails").headers if name.startswith("ratelimit")]


@pytest.mark.one_engine
def test_address_with_many_wrong_keys_is_slowed_down_but_right_keys_work(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False) as product, product.client(key="wrong") as client:
        answers = [client.get("/emails") for _ in range(100)]
        assert {answer.status_code for answer in answers[:60]} == {403}
        assert_refused(answers[-1], 429, "rate_limit_exceeded")
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert product.request("GET", "/emails").status_code == 200
        behind_a_proxy = client.get("/emails", headers={"x-forwarded-for": "192.0.2.1"})
        assert behind_a_proxy.status_code == 403


@pytest.mark.one_engine
def test_connections_above_the_limit_are_told_so(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False, environ={"POSTROOM_MAX_CONNECTIONS": "20"}) as product:
        with wires(product, 20, b"GET /livez HTTP/1.1\r\n"):
            product.wait_until(lambda: _told_that_there_are_too_many(product))
        _wait_until_served(product)


def _told_that_there_are_too_many(product: Product) -> bool:
    with Wire(product.port) as wire:
        wire.send(LIVE)
        answer = wire.read_answer()
        if answer.status == 200:
            return False
        assert answer.status == 503
        assert answer.json()["name"] == "application_error"
        assert answer.headers["retry-after"]
        return wire.is_closed()


@pytest.mark.one_engine
def test_idle_connections_above_the_limit_give_way(engine: Engine, tmp_path: Path) -> None:
    environ = {"POSTROOM_MAX_CONNECTIONS": "20"}
    with running(engine, tmp_path, deliver=False, environ=environ) as product, wires(product, 20, LIVE) as idle:
        assert {one.read_answer().status for one in idle} == {200}
        with wires(product, 1, LIVE) as [newcomer]:
            assert newcomer.read_answer().status == 200
        product.wait_until(lambda: any(one.is_closed_or_answered() for one in idle))
        assert [one.is_closed_or_answered() for one in idle].count(True) == 1


@pytest.mark.one_engine
def test_requests_above_the_limit_are_refused_while_slow_bodies_do_not_count(engine: Engine, tmp_path: Path) -> None:
    head = "POST /emails HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 1000\r\n\r\n"
    with running(engine, tmp_path, deliver=False, environ={"POSTROOM_MAX_REQUESTS": "3"}) as product:
        product.submit()  # the key is known from here on, so that a request comes to its body at once
        with wires(product, 10, head.format(key=product.key).encode() + b'{"from": '):
            assert product.submit()


def test_requests_above_the_limit_are_refused_at_once(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False, environ={"POSTROOM_MAX_REQUESTS": "1"}) as product:
        product.submit()  # the key is known from here on, and needs no store that is stuck
        with engine.stuck(tmp_path), ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(product.request, "POST", "/emails", json=EMAIL)
            began = time.monotonic()
            while (answer := product.request("GET", "/nothing")).status_code != 503:
                assert time.monotonic() - began < 2
            assert_refused(answer, 503, "application_error")
            assert answer.headers["retry-after"] == "1"
            assert product.request("GET", "/livez").status_code == 200
            assert waiting.result().status_code == 503


@pytest.mark.one_engine
def test_bodies_in_memory_are_limited(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False, environ={"POSTROOM_MAX_BYTES_UNDER_WAY": "100000"}) as product:
        answer = product.request("POST", "/emails", json=EMAIL | {"text": "x" * 200_000})
        assert_refused(answer, 503, "application_error")
        assert answer.headers["retry-after"]
        assert product.submit(text="x" * 1000)


def test_store_that_does_not_answer_is_503_within_three_seconds(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False) as product:
        product.submit()
        with engine.stuck(tmp_path):
            began = time.monotonic()
            answer = product.request("POST", "/emails", json=EMAIL)
            assert time.monotonic() - began < 3
            assert_refused(answer, 503, "application_error")
            assert answer.headers["retry-after"]
        _wait_until_served(product)


@pytest.mark.one_engine
def test_client_that_does_not_read_its_answers_is_cut_off(impatient: Product) -> None:
    email_id = impatient.submit(text="x" * 900_000)
    ask = head(impatient, method="GET", path=f"/emails/{email_id}")
    with Wire(impatient.port) as wire:
        wire.send(*[ask] * 30)
        assert wire.is_cut_off(within=10)
    assert impatient.request("GET", "/livez").status_code == 200


@pytest.mark.one_engine
def test_client_that_reads_its_answer_slowly_gets_all_of_it(impatient: Product) -> None:
    email_id = impatient.submit(text="x" * 900_000)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", impatient.port))
        connection.sendall(head(impatient, "Connection: close", method="GET", path=f"/emails/{email_id}"))
        size, began = 0, time.monotonic()
        while piece := connection.recv(20_000):
            size += len(piece)
            time.sleep(0.05)
    assert size > 900_000
    assert time.monotonic() - began > 2  # twice what one may take that does not read


def _wait_until_served(product: Product, seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if product.request("POST", "/emails", json=EMAIL).status_code == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.one_engine
def test_2000_silent_connections_do_not_disturb_others(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False) as product:
        silent = [socket.create_connection(("127.0.0.1", product.port), timeout=10) for _ in range(2000)]
        try:
            for _ in range(20):
                began = time.monotonic()
                assert product.request("GET", "/livez").status_code == 200
                assert time.monotonic() - began < 3
        finally:
            for one in silent:
                one.close()
