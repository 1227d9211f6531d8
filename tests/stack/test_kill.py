"""Every container killed in turn under load, restarted under load, and all of them stopped: nothing is lost."""

import pytest

from tests.stack import books
from tests.stack.stand import Stand, docker, wait

ON_MONGODB = ("fastapi-app", "worker", "sweep", "rabbitmq", "flower", "mongodb", "mongo-express")
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


def _crashes(stand: Stand, service: str) -> None:
    """It comes back by itself."""
    container = stand.one(service)
    stand.crash(container)
    wait(lambda: stand.one(service)["RestartCount"] > container["RestartCount"], f"{service} is started again")


def _is_killed_by_docker(stand: Stand, service: str) -> None:
    """Docker takes it for a wish, and starts nothing again that somebody wished away; `make start` does."""
    docker("kill", stand.one(service)["Name"].removeprefix("/"))
    stand.make("start")


def _is_restarted(stand: Stand, service: str) -> None:
    stand.make("restart", SERVICE=service)
