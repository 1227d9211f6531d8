"""The Celery worker among a real RabbitMQ, store and relay: its work, and the death of its processes."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pymongo
import pytest
from celery import Celery
from kombu import Connection, Exchange, Producer

from postroom.mail.email import Lane, Status
from postroom.queue.celery import CeleryQueue
from tests.fleet import ACCOUNT, PATIENT, QUICK, Fleet, StartFleet, expect_each_once, publish_task
from tests.servers.rabbitmq import RabbitMQ
from tests.smtpd import Hold, Smtpd

# -- work and results -----------------------------------------------------------------------------------------------


def test_chunk_is_delivered_and_its_result_reads_back_from_redis(start_fleet: StartFleet, relay: Smtpd) -> None:
    fleet = start_fleet(**PATIENT)
    fleet.worker()
    _deliver_and_read_back(fleet, relay, fleet.variables["POSTROOM_STORE_URL"])


def test_chunk_is_delivered_and_its_result_reads_back_from_mongodb(
    start_fleet: StartFleet, relay: Smtpd, mongodb_url: str
) -> None:
    fleet = start_fleet(store_url=mongodb_url, **PATIENT)
    fleet.worker()
    _deliver_and_read_back(fleet, relay, mongodb_url)
    with pymongo.MongoClient(mongodb_url) as client:
        indexes = client.get_default_database()["celery_taskmeta"].index_information()
    assert any(index.get("expireAfterSeconds") == 24 * 3600 for index in indexes.values())


def _deliver_and_read_back(fleet: Fleet, relay: Smtpd, results_url: str) -> None:
    ids = fleet.submit(30)
    fleet.wait_for_sent(30)
    expect_each_once(relay, ids)
    email = fleet.store.get(ACCOUNT, ids[0])
    assert email is not None
    task = str(next(e.detail["task"] for e in email.life.timeline if e.detail.get("task")))
    with Celery(backend=results_url, set_as_current=False) as reader:  # anybody's Celery
        result = reader.AsyncResult(task)
        assert result.get(timeout=10) == {"accepted": 30}
        assert result.state == "SUCCESS"
        if client := getattr(reader.backend, "_connection", None):
            client.close()  # Celery leaves it to the garbage collector


def test_plain_celery_command_delivers(start_fleet: StartFleet, relay: Smtpd) -> None:
    fleet = start_fleet(**PATIENT)
    fleet.start("celery", "-A", "postroom.worker.celery_app", "worker", "-c", "1")
    expect_each_once(relay, _sent(fleet, 10))


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_worker_without_child_processes_is_refused(start_fleet: StartFleet, pool: str) -> None:
    worker = start_fleet(**PATIENT).start("celery", "-A", "postroom.worker.celery_app", "worker", "-P", pool)
    assert worker.process.wait(20) == 1
    assert "child processes only" in worker.log
    assert "Traceback" not in worker.log


def test_hangup_is_ignored_where_it_was_before(start_fleet: StartFleet, relay: Smtpd) -> None:
    fleet = start_fleet(**PATIENT)
    with _hangup_is(signal.SIG_IGN):
        worker = fleet.worker()
    worker.process.send_signal(signal.SIGHUP)
    expect_each_once(relay, _sent(fleet, 10))
    assert worker.stop() == 0


@contextmanager
def _hangup_is(action: signal.Handlers) -> Iterator[None]:
    """What SIGHUP does to processes that are started meanwhile, whatever it does to this one: nohup has it ignored."""
    before = signal.signal(signal.SIGHUP, action)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_worker_gives_way_to_others_as_far_as_it_is_told(start_fleet: StartFleet) -> None:
    fleet = start_fleet(**PATIENT, WORKER_NICENESS="3")
    worker = fleet.worker()
    _sent(fleet, 1)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in worker.children()} == {min(ours + 3, 19)}


def _sent(fleet: Fleet, count: int) -> list[str]:
    ids = fleet.submit(count)
    fleet.wait_for_sent(count)
    return ids


def test_what_no_worker_can_read_goes_to_the_dead_letters(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd
) -> None:
    fleet = start_fleet(**PATIENT)
    worker = fleet.worker()
    assert isinstance(fleet.queue, CeleryQueue)
    dead_letters = fleet.queue.dead_letters
    with Connection(rabbitmq.url) as connection:
        publish_task(connection, [{"v": 2, "ids": ["x"], "lane": "normal"}])
        publish_task(connection, [{"v": 1, "ids": "x", "lane": "normal"}])
        publish_task(connection, [{"v": 1, "ids": ["x"], "lane": "slow"}])
        publish_task(connection, [], task="postroom.unheard_of")
        producer = Producer(connection, routing_key="normal", exchange=Exchange("postroom", type="direct"))
        for task in ("postroom.deliver", "postroom.unheard_of", None):
            headers = {"task": task} if task else {}
            producer.publish("{half", content_type="application/json", content_encoding="utf-8", headers=headers)
            producer.publish("[1]", content_type="application/json", content_encoding="utf-8", headers=headers)
            producer.publish(b"\x80\x04K\x01.", content_type="application/x-python-serialize", headers=headers)
        wake_up: dict[str, object] = {"v": 1, "ids": ["x"], "lane": "normal"}
        first_protocol = {"task": "postroom.deliver", "id": "a", "args": [wake_up], "kwargs": {}, "timelimit": ["a", 0]}
        producer.publish(first_protocol, serializer="json")
        publish_task(connection, [wake_up], compression="application/x-gzip")
    fleet.wait(lambda: dead_letters() == 15, "all are dead letters", seconds=20)
    expect_each_once(relay, _sent(fleet, 5))
    assert dead_letters() == 15
    assert worker.process.poll() is None


@pytest.mark.parametrize(
    "header", [{"timelimit": ["a", "b"]}, {"timelimit": "xx"}, {"eta": "yesterday"}, {"expires": ["x"]}]
)
def test_wake_up_with_limits_that_celery_cannot_read_is_a_wake_up(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd, header: dict[str, object]
) -> None:
    fleet = start_fleet(**PATIENT)
    worker = fleet.worker()
    ids = fleet.submit(1, publish=False)
    with Connection(rabbitmq.url) as connection:
        publish_task(connection, [{"v": 1, "ids": ids, "lane": "normal"}], **header)
    fleet.wait_for_sent(1)
    expect_each_once(relay, ids)
    assert worker.process.poll() is None


def test_urgent_email_overtakes_five_hundred_chunks_of_bulk(start_fleet: StartFleet) -> None:
    slow = {"simulated_min_seconds": "0.2", "simulated_max_seconds": "0.2", "simulated_capacity": "2"}
    fleet = start_fleet(relay_url="simulated://", chunk_size="4", **slow, **PATIENT)
    fleet.submit(2000, lane=Lane.BULK)
    fleet.worker()
    fleet.wait(lambda: fleet.count(Status.SENT) > 20, "bulk is under way")
    (urgent,) = fleet.submit(1, lane=Lane.URGENT)
    fleet.wait(lambda: fleet.status(urgent) is Status.SENT, "the urgent email is sent", seconds=2)
    assert fleet.count(Status.QUEUED) > 1000


# -- death of workers -----------------------------------------------------------------------------------------------


def test_chunk_of_a_killed_child_is_delivered_by_another(
    start_fleet: StartFleet, relay: Smtpd, mongodb_url: str
) -> None:
    fleet = start_fleet(store_url=mongodb_url, **QUICK)
    fleet.start("postroom", "sweep")
    hold = Hold(until=threading.Event(), seconds=10)
    relay.script.on("mail", hold)  # before the fence: nothing is in doubt
    worker = fleet.worker(POSTROOM_WORKER_PROCESSES="1")
    ids = fleet.submit(10)
    assert hold.reached.wait(20)
    for child in worker.children():
        os.kill(child, signal.SIGKILL)
    relay.script.clear()
    fleet.wait_for_sent(10)
    expect_each_once(relay, ids)
    assert not _flagged(fleet, ids)
    assert "before fork" not in worker.log  # MongoDB's client is not safe to copy


def test_children_killed_while_their_worker_starts_do_not_end_it(start_fleet: StartFleet, relay: Smtpd) -> None:
    fleet = start_fleet(**QUICK)
    workers = [fleet.start("postroom", "worker") for _ in range(3)]
    killed: set[int] = set()

    def all_are_ready() -> bool:
        for child in {pid for worker in workers for pid in worker.children()} - killed:
            if len(killed) < 30:  # so that the last ones live
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                killed.add(child)
        return all(" ready." in worker.log for worker in workers)

    fleet.wait(all_are_ready, "all are ready", *workers)
    ids = fleet.submit(10)
    fleet.wait_for_sent(10)
    expect_each_once(relay, ids)
    assert killed
    assert [worker.process.poll() for worker in workers] == [None] * 3


def test_emails_of_a_killed_worker_are_delivered_by_another(start_fleet: StartFleet, relay: Smtpd) -> None:
    fleet = start_fleet(**QUICK)
    fleet.start("postroom", "sweep")
    hold = Hold(until=threading.Event(), seconds=10)
    relay.script.on("mail", hold)
    worker = fleet.worker()
    ids = fleet.submit(10)
    assert hold.reached.wait(20)
    worker.kill()
    relay.script.clear()
    fleet.worker()
    fleet.wait_for_sent(10)
    expect_each_once(relay, ids)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "SIGTERM to the group", "SIGHUP", "SIGQUIT", "Ctrl-C twice"])
def test_stop_under_load_loses_and_doubles_nothing(start_fleet: StartFleet, how: str) -> None:
    times = {"simulated_min_seconds": "0.1", "simulated_max_seconds": "1", "simulated_capacity": "50"}
    fleet = start_fleet(relay_url="simulated://", **times, **PATIENT)
    with _hangup_is(signal.SIG_DFL):
        worker = fleet.worker()
    ids = fleet.submit(2000)
    fleet.wait(lambda: fleet.count(Status.SENT) > 100, "delivery is under way")
    began = time.monotonic()
    match how:
        case "SIGTERM" | "SIGTERM to the group":
            assert worker.stop(group="group" in how) == 0
        case "SIGHUP" | "SIGQUIT":
            worker.process.send_signal(signal.Signals[how])
        case "Ctrl-C twice":
            for _ in range(2):
                os.killpg(worker.process.pid, signal.SIGINT)
                time.sleep(0.5)
    worker.process.wait(50)  # Celery may wait some seconds for each reply of the broker
    assert time.monotonic() - began < 20 or not how.startswith(("SIGTERM", "SIGHUP"))
    assert fleet.count(Status.SENDING) == 0
    assert fleet.count(Status.QUEUED) > 0
    fleet.worker()
    fleet.wait_for_sent(2000)
    assert not _flagged(fleet, ids)
    assert all(_attempts(fleet, email_id) == 1 for email_id in ids)


def _attempts(fleet: Fleet, email_id: str) -> int:
    email = fleet.store.get(ACCOUNT, email_id)
    assert email is not None
    return email.life.attempts


def _flagged(fleet: Fleet, ids: list[str]) -> list[str]:
    """Those that may have been delivered twice."""
    emails = [fleet.store.get(ACCOUNT, email_id) for email_id in ids]
    return [email.id for email in emails if email and email.life.possible_duplicate]
