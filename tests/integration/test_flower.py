"""Flower, as operators run it, sees our workers, queues and chunks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from postroom.mail.email import Lane
from tests.fleet import Fleet
from tests.servers import free_port
from tests.servers.rabbitmq import RabbitMQ


@pytest.fixture
def fleet(rabbitmq: RabbitMQ, empty_redis: Callable[[], str], tmp_path: Path) -> Iterator[Fleet]:
    """Workers whose relay takes no time."""
    instant = {"relay_url": "simulated://", "simulated_min_seconds": "0", "simulated_max_seconds": "0"}
    made = Fleet(tmp_path, broker_url=rabbitmq.url, store_url=empty_redis(), poll_seconds="3600", **instant)
    yield made
    made.close()


def test_flower_lists_workers_children_queues_and_chunks(fleet: Fleet, rabbitmq: RabbitMQ) -> None:
    port = free_port()
    flower = fleet.start(
        *("celery", "-A", "postroom.worker.celery_app", "flower", "--address=127.0.0.1", f"--port={port}"),
        f"--broker-api={rabbitmq.api_url}/",
        FLOWER_UNAUTHENTICATED_API="true",
    )
    worker = fleet.worker()
    address = f"http://127.0.0.1:{port}"
    fleet.wait(lambda: _read(f"{address}/api/workers") == {} or _read(f"{address}/api/workers"), "Flower", flower)
    fleet.wait(lambda: _worker(address), "Flower lists the worker", flower)
    (inspected,) = _worker(address).values()
    assert sorted(inspected["stats"]["pool"]["processes"]) == sorted(worker.children())
    assert {queue["name"] for queue in inspected["active_queues"]} == {f"postroom.{lane}" for lane in Lane}

    ids = fleet.submit(20)
    fleet.wait_for_sent(20)
    fleet.wait(lambda: _chunks(address), "Flower lists the chunk", flower)
    (chunk,) = _chunks(address).values()
    assert chunk["name"] == "postroom.deliver"
    assert chunk["result"] == "{'accepted': 20}"
    assert "example" not in str(chunk)  # ids and counts, never an address
    assert ids[0] in chunk["args"]

    lengths = _read(f"{address}/api/queues/length") or {}
    assert {queue["name"] for queue in lengths["active_queues"]} >= {f"postroom.{lane}" for lane in Lane}


def _worker(address: str) -> dict[str, Any]:
    workers = _read(f"{address}/api/workers?refresh=1") or {}
    return {name: found for name, found in workers.items() if found.get("stats") and found.get("active_queues")}


def _chunks(address: str) -> dict[str, Any]:
    return _read(f"{address}/api/tasks?state=SUCCESS") or {}


def _read(url: str) -> dict[str, Any] | None:
    try:
        answer = httpx.get(url, timeout=10, trust_env=False)
    except httpx.HTTPError:
        return None
    return dict(answer.json()) if answer.is_success else None
