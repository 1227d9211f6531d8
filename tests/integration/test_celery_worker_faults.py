"""The Celery worker while its broker or its store is away, refuses it, or forgets everything."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from amqp.exceptions import NotFound
from celery import Celery
from kombu import Connection, Exchange, Queue

from postroom.errors import QueueUnavailable
from postroom.mail.email import Lane
from tests.fleet import PATIENT, QUICK, StartFleet, expect_each_once
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import RedisServer
from tests.smtpd import Hold, Say, Smtpd

# -- trouble with the broker ----------------------------------------------------------------------------------------


def test_closed_connections_double_nothing(start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd) -> None:
    fleet = start_fleet(**QUICK)
    fleet.worker()
    hold = Hold(until=threading.Event(), seconds=4)
    relay.script.on("data", hold, Say("354 Go ahead"), times=3)
    ids = fleet.submit(60)
    assert hold.reached.wait(20)
    rabbitmq.close_all_connections()
    fleet.wait_for_sent(60)
    expect_each_once(relay, ids)


@pytest.mark.slow
def test_worker_delivers_without_a_broker_and_finds_it_later(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd
) -> None:
    fleet = start_fleet(**QUICK)
    rabbitmq.kill()
    worker = fleet.start("postroom", "worker")
    ids = fleet.submit(10, publish=False)
    fleet.wait_for_sent(10)
    rabbitmq.start()
    fleet.wait(lambda: " ready." in worker.log, "the worker consumes", worker)
    ids += fleet.submit(10, publish=False)
    fleet.wait_for_sent(20)
    expect_each_once(relay, ids)


@pytest.mark.parametrize("absence", ["from the start", "later"])
def test_children_killed_while_the_broker_is_away_are_replaced(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd, absence: str
) -> None:
    fleet = start_fleet(**QUICK)
    if absence == "later":
        worker = fleet.worker()
        rabbitmq.kill()
    else:
        rabbitmq.kill()
        worker = fleet.start("postroom", "worker")
    fleet.wait(lambda: "broker unavailable" in worker.log, "the worker has noticed", worker)
    killed = worker.children()
    assert len(killed) == 2
    for child in killed:
        os.kill(child, signal.SIGKILL)
    fleet.wait(lambda: len(set(worker.children()) - set(killed)) == 2, "the children are replaced", worker, seconds=20)
    ids = fleet.submit(5, publish=False)
    fleet.wait_for_sent(5)
    rabbitmq.start()
    fleet.wait(lambda: _is_consumed(rabbitmq.url, "postroom.bulk"), "the worker consumes", worker)
    ids += fleet.submit(5)
    fleet.wait_for_sent(10)
    expect_each_once(relay, ids)


def test_worker_stops_cleanly_while_the_broker_is_away(start_fleet: StartFleet, rabbitmq: RabbitMQ) -> None:
    fleet = start_fleet(**QUICK)
    worker = fleet.worker()
    rabbitmq.kill()
    fleet.wait(lambda: "broker unavailable" in worker.log, "the worker has noticed", worker)
    assert worker.stop() == 0


def test_wiped_broker_is_refilled_by_the_sweep(start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd) -> None:
    fleet = start_fleet(**{**QUICK, **PATIENT})
    ids = fleet.submit(20)
    vhost = rabbitmq.vhost
    rabbitmq.wipe()
    with pytest.raises(QueueUnavailable):  # its virtual host is gone, too
        fleet.queue.publish(["x"], Lane.NORMAL)
    rabbitmq.new_vhost(vhost)
    fleet.start("postroom", "sweep")
    fleet.worker()
    fleet.wait_for_sent(20)
    expect_each_once(relay, ids)


def test_queues_deleted_again_and_again_do_not_end_the_worker(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd
) -> None:
    fleet = start_fleet(**QUICK)
    worker = fleet.worker()
    fleet.wait(lambda: _is_consumed(rabbitmq.url, "postroom.bulk"), "the worker consumes")
    for _ in range(20):  # it makes them anew each time, and may find them gone before it consumes
        rabbitmq.delete_queue("postroom.bulk")
        time.sleep(0.2)  # so that the deletions meet every step of its coming back
        assert worker.process.poll() is None, worker.log
    assert "Connection to broker lost" in worker.log
    ids = fleet.submit(10)
    fleet.wait_for_sent(10)
    expect_each_once(relay, ids)


def _is_consumed(url: str, queue: str) -> bool:
    with Connection(url) as connection, suppress(NotFound):
        return bool(connection.channel().queue_declare(queue, passive=True).consumer_count)
    return False


def test_queue_with_other_arguments_is_told_and_work_goes_on(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd
) -> None:
    with Connection(rabbitmq.url) as connection:
        Queue("postroom.urgent", Exchange("postroom", type="direct"), routing_key="urgent")(connection).declare()
    fleet = start_fleet(**QUICK)
    worker = fleet.start("postroom", "worker")
    ids = fleet.submit(10, publish=False)
    fleet.wait_for_sent(10)
    expect_each_once(relay, ids)
    assert "has a queue with other arguments" in worker.log
    assert "Traceback" not in worker.log
    rabbitmq.delete_queue("postroom.urgent")
    fleet.wait(lambda: " ready." in worker.log, "the worker consumes", worker)


def test_second_worker_of_one_name_says_so_and_works_from_the_store(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd
) -> None:
    fleet = start_fleet(**QUICK)
    first = fleet.start("postroom", "worker", "--hostname", "one@here")
    fleet.wait(lambda: " ready." in first.log, "the first consumes", first)
    second = fleet.start("postroom", "worker", "--hostname", "one@here")
    fleet.wait(lambda: "has a worker of this name already" in second.log, "the second says why", second)
    assert second.log.count("Connection to broker lost") == 1
    first.kill()
    fleet.wait(lambda: " ready." in second.log, "the second consumes", second)
    ids = fleet.submit(5)
    fleet.wait_for_sent(5)
    expect_each_once(relay, ids)
    assert "Traceback" not in second.log


def test_dashboard_cannot_make_a_worker_consume_the_dead_letters(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd
) -> None:
    fleet = start_fleet(**PATIENT)
    worker = fleet.worker()
    with Celery(broker=rabbitmq.url, set_as_current=False) as dashboard:
        dashboard.control.add_consumer("postroom.dead", reply=True)
        fleet.wait(lambda: "postroom.dead is no lane of ours" in worker.log, "the worker refuses", worker)
        dashboard.control.cancel_consumer("postroom.normal", reply=True)
        dashboard.control.add_consumer("postroom.normal", reply=True)
    ids = fleet.submit(5)
    fleet.wait_for_sent(5)
    expect_each_once(relay, ids)
    assert "Connection to broker lost" not in worker.log


def test_memory_alarm_does_not_keep_workers_from_their_work(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, relay: Smtpd
) -> None:
    fleet = start_fleet(chunk_size="5", **PATIENT)
    ids = fleet.submit(50)
    with rabbitmq.under_memory_alarm():
        fleet.start("postroom", "worker")
        fleet.wait_for_sent(50)
    expect_each_once(relay, ids)


# -- trouble with the store -----------------------------------------------------------------------------------------


def test_worker_that_starts_before_its_store_carries_on_when_it_comes(
    start_fleet: StartFleet, start_redis: Callable[[], RedisServer], relay: Smtpd, tmp_path: Path
) -> None:
    redis, alive = start_redis(), tmp_path / "alive"
    fleet = start_fleet(store_url=redis.url, worker_alive_file=str(alive), **QUICK)
    ids = fleet.submit(5, publish=False)
    redis.kill()
    worker = fleet.worker()
    fleet.wait(lambda: "store unavailable" in worker.log, "the worker has noticed", worker)
    redis.start()
    fleet.wait_for_sent(5)
    expect_each_once(relay, ids)
    assert "Traceback" not in worker.log
    assert alive.exists()


def test_sweep_shows_that_it_turns_also_while_its_store_is_away(
    start_fleet: StartFleet, start_redis: Callable[[], RedisServer], tmp_path: Path
) -> None:
    redis, alive = start_redis(), tmp_path / "alive"
    fleet = start_fleet(store_url=redis.url, worker_alive_file=str(alive), **QUICK)
    sweep = fleet.start("postroom", "sweep")
    fleet.wait(alive.exists, "it turns", sweep)
    redis.kill()
    fleet.wait(lambda: "store unavailable" in sweep.log, "it has noticed", sweep)
    alive.unlink()
    fleet.wait(alive.exists, "it turns without a store", sweep)
