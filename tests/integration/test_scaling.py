"""Workers come and go in the middle of the load: the work is shared at once, and nothing is lost or doubled."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from postroom.mail.email import Email, Lane, Status
from tests.fleet import ACCOUNT, PATIENT, Fleet, Member, StartFleet, expect_each_once
from tests.smtpd import Accept, Hold, Say, Smtpd

STOPS = 10  # with each store; twenty in all
STOP_SECONDS = 20.0
UrlOf = Callable[[str], str]


@pytest.fixture
def url_of(new_mongodb_url: Callable[[], str], empty_redis: Callable[[], str]) -> UrlOf:
    """Brings an empty store of that kind."""
    return lambda kind: {"mongo": new_mongodb_url, "redis": empty_redis}[kind]()


def take_time(relay: Smtpd, seconds: float) -> None:
    """The relay thinks for so long about each message, as real ones do."""
    relay.script.on("dot", Accept(), Hold(until=threading.Event(), seconds=seconds), Say("250 2.0.0 Ok"))


@pytest.mark.slow
def test_third_worker_takes_its_share_at_once_and_disturbs_nothing(
    start_fleet: StartFleet, relay: Smtpd, mongodb_url: str
) -> None:
    take_time(relay, 0.1)
    fleet = start_fleet(store_url=mongodb_url, worker_processes="1", chunk_size="10", **PATIENT)
    for _ in range(2):
        fleet.worker()
    ids = fleet.submit(1200)
    fleet.wait(lambda: len(relay.received) > 100, "delivery is under way")
    third = fleet.worker()
    joined = len(relay.received)
    assert joined < 800, "this machine is too slow for the test: hardly any work was left"
    fleet.wait_for_sent(1200)
    expect_each_once(relay, ids)
    emails = [email for email in (fleet.store.get(ACCOUNT, email_id) for email_id in ids) if email]
    share = sum(_worker_of(email) in third.children() for email in emails) / (1200 - joined)
    assert 0.2 < share < 0.5  # one of three
    assert {email.life.attempts for email in emails} == {1}
    assert len({_worker_of(email) for email in emails}) == 3


def _worker_of(email: Email) -> int:
    """The process that delivered it."""
    (name,) = [str(event.detail["worker"]) for event in email.life.timeline if event.detail.get("worker")]
    return int(name.rpartition("/")[2])


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("store", ["mongo", "redis"])
def test_each_of_ten_stops_under_load_loses_and_doubles_nothing(
    start_fleet: StartFleet, relay: Smtpd, url_of: UrlOf, store: str
) -> None:
    take_time(relay, 0.3)
    fleet = start_fleet(store_url=url_of(store), chunk_size="20", **PATIENT)
    crew = [fleet.worker(), fleet.worker()]
    ids: list[str] = []
    for number in range(STOPS):
        ids += _keep_busy(fleet)
        crew.append(fleet.worker())
        ids += _keep_busy(fleet)  # a slow machine takes long to start one
        leaver = crew.pop(0)
        assert fleet.count(Status.QUEUED) > 0, "it is stopped in the middle of the load"
        _stop(leaver, group=number % 2 == 1)
    fleet.wait_for_sent(len(ids))
    expect_each_once(relay, ids)
    assert not [email_id for email_id in ids if _in_doubt(fleet, email_id)]


def _keep_busy(fleet: Fleet) -> list[str]:
    """Sees to it that more waits than two workers deliver in a second."""
    return fleet.submit(max(0, 500 - fleet.count(Status.QUEUED)))


def _stop(worker: Member, *, group: bool) -> None:
    began = time.monotonic()
    assert worker.stop(group=group) == 0
    assert time.monotonic() - began < STOP_SECONDS


def _in_doubt(fleet: Fleet, email_id: str) -> bool:
    email = fleet.store.get(ACCOUNT, email_id)
    assert email is not None
    return email.life.possible_duplicate


@pytest.mark.slow
def test_children_of_one_worker_share_its_work(start_fleet: StartFleet, relay: Smtpd) -> None:
    take_time(relay, 0.05)
    fleet = start_fleet(chunk_size="10", **PATIENT)
    worker = fleet.worker()
    ids = fleet.submit(400)
    fleet.wait_for_sent(400)
    expect_each_once(relay, ids)
    emails = [email for email in (fleet.store.get(ACCOUNT, email_id) for email_id in ids) if email]
    done = Counter(_worker_of(email) for email in emails)
    assert done.keys() == set(worker.children())
    assert min(done.values()) > 100


@pytest.mark.slow
def test_urgent_email_is_handed_over_as_if_no_bulk_were_waiting(
    start_fleet: StartFleet, relay: Smtpd, mongodb_url: str
) -> None:
    take_time(relay, 0.2)
    fleet = start_fleet(store_url=mongodb_url, **PATIENT)
    fleet.worker()
    idle = _seconds_to_relay(fleet, relay)
    fleet.submit(5000, lane=Lane.BULK)
    fleet.wait(lambda: len(relay.received) > 50, "bulk is under way")
    busy = [_seconds_to_relay(fleet, relay) for _ in range(5)]
    assert max(busy) < idle + 2
    assert fleet.count(Status.QUEUED) > 3000


def _seconds_to_relay(fleet: Fleet, relay: Smtpd) -> float:
    """How long an urgent email takes from its submission to the relay."""
    began = time.monotonic()
    (urgent,) = fleet.submit(1, lane=Lane.URGENT)
    subject = f"Subject: {urgent}\r\n".encode()
    relay.wait_until(lambda: any(subject in message.data for message in list(relay.received)[-200:]), "urgent email")
    return time.monotonic() - began
