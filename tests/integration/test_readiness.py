"""What `/readyz` and `postroom check` tell when a part is missing: which one, in time, and who must care."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.fleet import Fleet
from tests.product import EMAIL, Product, running
from tests.servers import free_port
from tests.servers.disk import disk_of
from tests.servers.rabbitmq import RabbitMQ

BOUND_SECONDS = 3.0


@pytest.fixture
def distributed(engines: Callable[[str], Engine], tmp_path: Path) -> Iterator[Product]:
    """The API around Redis and RabbitMQ; nobody delivers."""
    with running(engines("redis"), tmp_path, deliver=False) as started:
        yield started


def test_missing_broker_is_named_and_does_not_take_the_api_out_of_service(
    distributed: Product, rabbitmq: RabbitMQ
) -> None:
    rabbitmq.kill()
    distributed.wait_until(lambda: _status(distributed) != "ok")
    answer = distributed.request("GET", "/readyz", key="")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["parts"].items() >= {"store": "ok", "intake": "ok"}.items()
    assert "accepted" in answer.json()["parts"]["broker"]
    assert distributed.request("GET", "/health", key="").json()["status"] == "degraded"
    assert distributed.submit()
    rabbitmq.start()
    distributed.wait_until(lambda: _status(distributed) == "ok")


def test_frozen_broker_is_told_in_time_and_keeps_one_thread_busy_however_many_ask(
    distributed: Product, rabbitmq: RabbitMQ
) -> None:
    distributed.request("GET", "/readyz", key="")
    before = threading.active_count()
    with rabbitmq.frozen(), ThreadPoolExecutor(30) as pool, distributed.client(key="") as client:

        def all_at_once() -> set[str]:
            began = time.monotonic()
            answers = list(pool.map(lambda _: client.get("/readyz"), range(30)))
            assert time.monotonic() - began < BOUND_SECONDS
            assert {answer.status_code for answer in answers} == {200}
            return {answer.json()["status"] for answer in answers}

        distributed.wait_until(lambda: all_at_once() == {"degraded"})
        assert all_at_once() == {"degraded"}
        assert threading.active_count() <= before + 30 + 2
    distributed.wait_until(lambda: _status(distributed) == "ok")


def test_missing_store_is_named_in_time_and_takes_the_api_out_of_service(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(engine, tmp_path, deliver=False) as product, engine.stuck(tmp_path):
        began = time.monotonic()
        answer = product.request("GET", "/readyz", key="")
        assert time.monotonic() - began < BOUND_SECONDS
        assert answer.status_code == 503
        assert answer.json()["status"] == "unavailable"
        assert answer.json()["parts"]["store"] != "ok"
        assert product.request("GET", "/livez", key="").status_code == 200
        product.wait_until(lambda: _reasons(caplog))  # which nobody else has a cause to log: no email was submitted


def _reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["reason"] for record in caplog.records if record.message == "store unavailable"]


@pytest.mark.one_engine
def test_intake_that_has_ended_is_named_and_takes_the_api_out_of_service(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False) as product:
        product.postroom.intake.close()
        answer = product.request("GET", "/readyz", key="")
        assert answer.status_code == 503
        assert answer.json() == {"status": "unavailable", "parts": {"store": "ok", "intake": "has ended"}}


@pytest.mark.one_engine
def test_full_disk_is_named_to_all_who_ask_and_its_path_to_nobody(engine: Engine, tmp_path: Path) -> None:
    with disk_of(40 * 1024 * 1024, tmp_path / "disk") as folder, running(engine, folder, deliver=False) as product:
        (folder / "ballast").write_bytes(bytes(16 * 1024 * 1024))  # the store keeps 32 MB free
        refused = product.request("POST", "/emails", json=EMAIL)
        assert refused.status_code == 503
        assert "disk of the store is full" in refused.json()["message"]
        for path in ("/readyz", "/health"):
            answer = product.request("GET", path, key="")
            assert answer.status_code == 503
            assert answer.json()["parts"]["store"] == "its disk is full: free some space"
            assert str(folder) not in answer.text + refused.text
        (folder / "ballast").unlink()
        product.wait_until(lambda: _status(product) == "ok")
        assert product.submit()


def _status(product: Product) -> str:
    return str(product.request("GET", "/readyz", key="").json()["status"])


@pytest.fixture
def fleet(rabbitmq: RabbitMQ, empty_redis: Callable[[], str], tmp_path: Path) -> Iterator[Fleet]:
    """What `postroom check` looks at."""
    made = Fleet(tmp_path, broker_url=rabbitmq.url, store_url=empty_redis(), port=str(free_port()))
    yield made
    made.close()


PARTS = {"store", "broker", "results", "relay", "port"}


def test_check_reaches_every_part(fleet: Fleet, mongodb_url: str) -> None:
    for results in (fleet.variables["POSTROOM_STORE_URL"], mongodb_url):
        told = fleet.run("check", "--json", CELERY_RESULT_BACKEND=results)
        assert told.returncode == 0, told.stdout
        parts = json.loads(told.stdout)
        assert parts.keys() == PARTS
        assert results.partition("//")[2].partition("/")[0] in parts["results"]["detail"]


@pytest.mark.parametrize(
    ("part", "variables"),
    [
        ("store", {"POSTROOM_STORE_URL": "mongodb://u:sesame@127.0.0.1:1/x"}),
        ("store", {"POSTROOM_STORE_URL": "redis://:sesame@127.0.0.1:1/0"}),
        ("broker", {"CELERY_BROKER_URL": "amqp://guest:sesame@127.0.0.1:1//"}),
        ("results", {"CELERY_RESULT_BACKEND": "mongodb://u:sesame@127.0.0.1:1/x"}),
        ("results", {"CELERY_RESULT_BACKEND": "redis://:sesame@127.0.0.1:1/0"}),
        ("relay", {"POSTROOM_RELAY_URL": "smtp://u:sesame@127.0.0.1:1"}),
    ],
)
def test_check_names_the_part_that_is_missing(
    fleet: Fleet, empty_redis: Callable[[], str], part: str, variables: dict[str, str]
) -> None:
    told = fleet.run("check", "--json", **{"CELERY_RESULT_BACKEND": empty_redis(), **variables})
    assert told.returncode == 1
    parts = json.loads(told.stdout)
    assert {name for name, found in parts.items() if not found["ok"]} == {part}
    assert "127.0.0.1:1" in parts[part]["detail"]
    assert "\n" not in parts[part]["detail"]
    assert "sesame" not in told.stdout + told.stderr
    assert "Traceback" not in told.stderr
