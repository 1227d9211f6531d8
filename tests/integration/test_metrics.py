"""`/metrics` of each command, as Prometheus would read it, while its processes come and go."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fleet import QUICK, Fleet
from tests.served import Api
from tests.servers import free_port, is_free
from tests.servers.rabbitmq import RabbitMQ

INSTANT = {"relay_url": "simulated://", "simulated_min_seconds": "0", "simulated_max_seconds": "0"}
ADDRESS = "POSTROOM_METRICS_ADDRESS"


@pytest.fixture
def fleet(rabbitmq: RabbitMQ, empty_redis: Callable[[], str], tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path, broker_url=rabbitmq.url, store_url=empty_redis(), port=str(free_port()), **QUICK, **INSTANT)
    yield made
    made.close()


def sample(address: str, name: str, **labels: str) -> float | None:
    """A number on that page; None while nobody serves it, or it is not there."""
    try:
        answer = httpx.get(f"http://{address}/metrics", timeout=10, trust_env=False)
    except httpx.HTTPError:
        return None
    for family in text_string_to_metric_families(answer.text):
        for each in family.samples:
            if each.name == name and labels.items() <= each.labels.items():
                return float(each.value)
    return None


def an_address() -> str:
    return f"127.0.0.1:{free_port()}"


def test_api_processes_count_together_and_keep_count_when_they_die(fleet: Fleet) -> None:
    address = an_address()
    api = Api(fleet, **{ADDRESS: address})

    def submitted() -> float | None:
        return sample(address, "http_requests_total", method="POST", handler="/emails", status="200")

    for _ in range(30):  # each on a connection of its own, so that both processes get some
        api.submit()
    assert api.request("POST", "/emails", json={}).status_code == 422
    assert submitted() == sample(address, "postroom_emails_accepted_total", lane="normal") == 30
    assert sample(address, "http_requests_total", method="POST", handler="/emails", status="422") == 1
    for child in api.process.children():
        os.kill(child, signal.SIGKILL)
    fleet.wait(lambda: api.process.log.count("API process died") == 2, "both were missed", api.process)
    fleet.wait(api.answers, "their successors answer", api.process)
    assert submitted() == 30
    api.submit()
    assert submitted() == 31


def test_requests_are_counted_by_what_is_documented_and_never_by_what_a_client_wrote(fleet: Fleet) -> None:
    address = an_address()
    api = Api(fleet, **{ADDRESS: address})
    asked = {
        ("GET", f"/emails/{api.submit()}", 200): ("GET", "/emails/{id}"),
        ("GET", "/emails/secret/raw", 404): ("GET", "/emails/{id}/raw"),
        ("GET", "/emails/batch", 404): ("GET", "/emails/{id}"),
        ("PUT", "/emails/batch", 405): ("PUT", "none"),
        ("GET", "/nothing/secret", 404): ("GET", "none"),
        ("PROPFIND", "/secret", 404): ("other", "none"),
    }
    for (method, path, status), (shown, handler) in asked.items():
        labels = {"method": shown, "handler": handler, "status": str(status)}
        before = sample(address, "http_requests_total", **labels) or 0
        assert api.request(method, path).status_code == status, path
        assert sample(address, "http_requests_total", **labels) == before + 1
    assert "secret" not in httpx.get(f"http://{address}/metrics", trust_env=False).text


def test_worker_shows_what_its_children_deliver_and_the_sweep_how_emails_stand(fleet: Fleet) -> None:
    of_worker, of_sweep = an_address(), an_address()
    worker = fleet.worker(**{ADDRESS: of_worker})
    sweep = fleet.start("postroom", "sweep", **{ADDRESS: of_sweep})
    fleet.submit(40)
    fleet.wait_for_sent(40)
    assert sample(of_worker, "postroom_outcomes_total", verdict="accepted") == 40
    assert sample(of_worker, "postroom_emails_settled_total", status="sent") == 40
    assert sample(of_worker, "postroom_sent_after_seconds_count") == 40
    fleet.wait(lambda: sample(of_sweep, "postroom_emails", status="sent") == 40, "the books show it", sweep)
    assert sample(of_sweep, "postroom_store_up") == sample(of_sweep, "postroom_broker_up") == 1
    assert sample(of_sweep, "postroom_dead_letters") == 0
    before = worker.children()
    for child in before:
        os.kill(child, signal.SIGKILL)
    fleet.wait(lambda: len(set(worker.children()) - set(before)) == 2, "two others take their places", worker)
    fleet.submit(10)
    fleet.wait_for_sent(50)
    assert sample(of_worker, "postroom_emails_settled_total", status="sent") == 50
    worker.stop()
    fleet.submit(1)
    fleet.wait(lambda: (sample(of_sweep, "postroom_longest_wait_seconds", lane="normal") or 0) > 0, "it waits", sweep)


@pytest.mark.parametrize("command", ["serve", "worker", "sweep"])
def test_children_of_a_killed_command_do_not_keep_its_port(fleet: Fleet, command: str) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    member = fleet.start("postroom", command, **{ADDRESS: address})
    fleet.wait(lambda: sample(address, "postroom_info") == 1, "it shows its metrics", member)
    fleet.wait(lambda: command == "sweep" or len(member.children()) == 2, "its children are there", member)
    member.kill()
    assert is_free(port)


@pytest.mark.parametrize("command", ["serve", "worker", "sweep"])
def test_port_in_use_is_one_sentence(fleet: Fleet, command: str) -> None:
    address = an_address()
    holder = fleet.start("postroom", "sweep", **{ADDRESS: address})
    fleet.wait(lambda: sample(address, "postroom_info") == 1, "the port is in use", holder)
    told = fleet.run(command, **{ADDRESS: address})
    assert told.returncode == 2
    assert f"POSTROOM_METRICS_ADDRESS: cannot listen on {address} (Address already in use)" in told.stderr
    assert "Traceback" not in told.stderr
