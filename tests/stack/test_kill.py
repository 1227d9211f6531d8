"""Every container killed in turn under load, restarted under load, and all of them stopped: nothing is lost."""

import json
from typing import Any

import pytest

from tests.stack import books
from tests.stack.stand import Stand, docker, wait

ON_MONGODB = ("fastapi-app", "worker", "sweep", "rabbitmq", "flower", "mongodb", "mongo-express", "guard")
CASES = [("redis", "redis"), ("redis", "worker")] + [("mongodb", service) for service in ON_MONGODB]
OUTAGE = {"fastapi-app", "mongodb", "redis"}  # while these are away, submissions are refused or unanswered


def test_everything_stopped_under_load_and_started_again_keeps_its_data(stand: Stand) -> None:
    stand.choose(mail="simulated")
    scheduled = stand.submit(scheduled_at="in 1 hour", subject="kept")
    with books.load(stand) as ledger:
        books.more(ledger, 60)
        stand.make("stop")
        assert not [c for c in stand.containers() if c["State"]["Running"]]
        stand.make("start")
        books.more(ledger, 30)
    books.expect_sent(stand, ledger)
    kept = stand.email(scheduled)
    assert (kept["status"], kept["subject"]) == ("scheduled", "kept")


def test_broker_whose_volume_is_gone_needs_no_manual_step(stand: Stand) -> None:
    stand.choose(mail="mailpit")
    with books.load(stand) as ledger:
        books.more(ledger, 60)
        stand.compose("rm", "--stop", "--force", "rabbitmq")
        docker("volume", "rm", "postroom-test_rabbitmq")
        stand.make("start")
        books.more(ledger, 60)
    books.expect_balanced(stand, ledger, outage=False)


@pytest.mark.parametrize(("store", "service"), CASES)
def test_container_that_crashes_is_killed_or_restarted_comes_back_and_nothing_is_lost(
    stand: Stand, store: str, service: str
) -> None:
    stand.choose(store=store, mail="mailpit")
    others = stand.starts(but=[service])
    with books.load(stand) as ledger:
        for trouble in (_crashes, _is_killed_by_docker, _is_restarted):
            books.more(ledger, 50)
            trouble(stand, service)
            wait(lambda: stand.is_healthy(service), f"{service} is healthy again")
        books.more(ledger, 50)
    books.expect_balanced(stand, ledger, outage=service in OUTAGE)
    assert stand.starts(but=[service]) == others


def test_worker_that_docker_kill_tells_to_end_comes_back_as_well(stand: Stand) -> None:
    stand.choose(mail="mailpit")
    with books.load(stand) as ledger:
        books.more(ledger, 50)
        _is_killed_by_docker(stand, "worker", signal="TERM")
        books.more(ledger, 50)
    books.expect_balanced(stand, ledger, outage=False)


def test_mailpit_killed_by_docker_comes_back(stand: Stand) -> None:
    stand.choose(mail="mailpit")
    _is_killed_by_docker(stand, "mailpit")
    wait(lambda: stand.is_healthy("mailpit"), "mailpit is healthy again")
    email_id = stand.submit()
    wait(lambda: stand.email(email_id)["status"] == "sent", "the email is sent")


def test_what_was_stopped_or_removed_by_hand_stays_so_while_the_guard_heals_others(stand: Stand) -> None:
    stand.choose()
    stopped, removed = stand.one("sweep"), stand.one("mongo-express")
    docker("stop", stopped["Id"])
    docker("rm", "--force", removed["Id"])
    _is_killed_by_docker(stand, "flower")  # later than those, so that the guard has seen them all
    assert not stand.one("sweep")["State"]["Running"]
    assert not stand.containers("mongo-express")
    stand.choose()


def test_command_that_was_run_once_and_killed_is_not_started_again(stand: Stand) -> None:
    stand.choose()
    single = stand.compose("run", "--detach", "--no-deps", "fastapi-app", "serve").stdout.strip()
    docker("kill", single)
    _is_killed_by_docker(stand, "flower")
    assert docker("inspect", "--format", "{{.State.Running}}", single).strip() == "false"
    docker("rm", single)


def test_stopped_stack_stays_stopped_also_what_was_killed_just_before(stand: Stand) -> None:
    stand.choose()
    docker("kill", stand.one("sweep")["Id"])
    stand.make("stop")
    with pytest.raises(AssertionError, match="not within"):
        wait(lambda: [c for c in stand.containers() if c["State"]["Running"]], "something runs", seconds=15)


def test_without_the_guard_no_container_has_the_socket_and_a_kill_waits_for_the_next_start(stand: Stand) -> None:
    stand.make("start", GUARD="no")
    assert not stand.containers("guard")
    assert not [c for c in stand.containers() for mount in c["Mounts"] if mount["Source"].endswith(".sock")]
    docker("kill", stand.one("flower")["Id"])
    stand.make("start")  # which remembers
    assert stand.is_healthy("flower")
    assert not stand.containers("guard")
    stand.make("start", GUARD="yes")
    assert len(stand.containers("guard")) == 2


def _crashes(stand: Stand, service: str) -> None:
    """It comes back by itself."""
    container = stand.containers(service)[0]
    stand.crash(container)
    wait(lambda: _again(container)["RestartCount"] > container["RestartCount"], f"{service} is started again")


def _is_killed_by_docker(stand: Stand, service: str, signal: str = "KILL") -> None:
    """Each of its containers in turn. Docker takes it for a wish and starts none of them again; the guard does."""
    for container in stand.containers(service):
        docker("kill", f"--signal={signal}", container["Id"])
        _wait_for_next_life(container)


def _wait_for_next_life(container: dict[str, Any]) -> None:
    def has_begun() -> bool:
        now = _again(container)["State"]
        return bool(now["Running"]) and now["StartedAt"] != container["State"]["StartedAt"]

    wait(has_begun, f"{container['Name']} is started again")


def _again(container: dict[str, Any]) -> dict[str, Any]:
    (now,) = json.loads(docker("inspect", container["Id"]))
    return dict(now)


def _is_restarted(stand: Stand, service: str) -> None:
    stand.make("restart", SERVICE=service)
