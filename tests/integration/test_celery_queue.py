"""The Celery queue against a real RabbitMQ, while things are done to it."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from kombu import Connection, Exchange, Queue

from postroom.errors import QueueUnavailable
from postroom.mail.email import Lane
from postroom.queue.celery import CeleryQueue
from postroom.queue.publisher import publish_chunks
from tests.servers.rabbitmq import RabbitMQ

LIMIT_SECONDS = 3.0  # two for the broker, the rest for a busy machine

Open = Callable[[str], CeleryQueue]


@pytest.fixture
def open_queue() -> Iterator[Open]:
    """Opens queues that are closed at the end; they do not rest after a fault."""
    opened: list[CeleryQueue] = []

    def one(url: str) -> CeleryQueue:
        opened.append(CeleryQueue(url, rest_seconds=0))
        return opened[-1]

    yield one
    for queue in opened:
        queue.close()


@pytest.fixture
def queue(rabbitmq: RabbitMQ, open_queue: Open) -> CeleryQueue:
    """A queue that is connected."""
    queue = open_queue(rabbitmq.url)
    publish_in_time(queue)
    return queue


def publish_in_time(queue: CeleryQueue) -> None:
    """Publishes; right after its start a node may need longer than our patience for a first quorum queue."""
    for attempt in itertools.count():
        try:
            return queue.publish(["id-1"], Lane.NORMAL)
        except QueueUnavailable:
            if attempt == 20:
                raise
            time.sleep(0.2)


def refusal(queue: CeleryQueue) -> str:
    """The sentence of a publish that must fail, in time."""
    began = time.monotonic()
    with pytest.raises(QueueUnavailable) as refused:
        queue.publish(["id-2"], Lane.NORMAL)
    assert time.monotonic() - began < LIMIT_SECONDS
    return str(refused.value)


def test_wake_up_is_a_celery_task_message(rabbitmq: RabbitMQ, queue: CeleryQueue) -> None:
    queue.publish(["a", "b"], Lane.URGENT)
    with Connection(rabbitmq.url) as connection:
        message = Queue("postroom.urgent")(connection).get()
        assert message is not None
        args, kwargs, _ = json.loads(message.body)
    assert args == [{"v": 1, "ids": ["a", "b"], "lane": "urgent"}]
    assert kwargs == {}
    assert message.headers["task"] == "postroom.deliver"
    assert message.headers["id"] == message.properties["correlation_id"]
    assert message.content_type == "application/json"
    assert message.properties["delivery_mode"] == 2


def test_publish_is_bounded_and_recovers_when_the_broker_is_killed(rabbitmq: RabbitMQ, queue: CeleryQueue) -> None:
    rabbitmq.kill()
    assert "cannot be reached" in refusal(queue)
    rabbitmq.start()
    publish_in_time(queue)


def test_publish_is_bounded_and_recovers_when_the_broker_freezes(rabbitmq: RabbitMQ, queue: CeleryQueue) -> None:
    with rabbitmq.frozen():
        for _ in range(3):
            assert "did not answer within 2 s" in refusal(queue)
    publish_in_time(queue)


def test_publish_is_bounded_and_recovers_under_a_memory_alarm(rabbitmq: RabbitMQ, queue: CeleryQueue) -> None:
    with rabbitmq.under_memory_alarm():
        for _ in range(3):
            assert "short of memory" in refusal(queue)
    publish_in_time(queue)


def test_late_confirm_does_not_vouch_for_the_next_wake_up(rabbitmq: RabbitMQ, queue: CeleryQueue) -> None:
    with rabbitmq.under_memory_alarm():
        refusal(queue)
    before = queue.depth()
    for number in range(5):
        queue.publish([f"id-{number}"], Lane.BULK)
        assert queue.depth() >= before + number + 1


def test_close_is_bounded_when_the_broker_freezes(rabbitmq: RabbitMQ, queue: CeleryQueue) -> None:
    with rabbitmq.frozen():
        began = time.monotonic()
        queue.close()
        assert time.monotonic() - began < 2 * LIMIT_SECONDS


def test_fault_is_remembered_for_a_moment(rabbitmq: RabbitMQ) -> None:
    queue = CeleryQueue(rabbitmq.url, rest_seconds=60)
    with rabbitmq.frozen():
        first = refusal(queue)
        began = time.monotonic()
        assert refusal(queue) == first
        assert time.monotonic() - began < 0.1
    queue.close()


def test_closed_connections_go_unnoticed(rabbitmq: RabbitMQ, queue: CeleryQueue) -> None:
    rabbitmq.close_all_connections()
    queue.publish(["id-2"], Lane.NORMAL)


def test_restart_between_two_wake_ups_goes_unnoticed(rabbitmq: RabbitMQ, queue: CeleryQueue) -> None:
    rabbitmq.restart()
    publish_in_time(queue)
    assert queue.depth() == 2


def test_deleted_queue_is_made_anew(rabbitmq: RabbitMQ, queue: CeleryQueue) -> None:
    rabbitmq.delete_queue("postroom.normal")
    queue.publish(["id-2"], Lane.NORMAL)
    assert queue.depth() == 1


def test_wiped_broker_gets_its_queues_back(rabbitmq_node: RabbitMQ, open_queue: Open) -> None:
    queue = open_queue(rabbitmq_node.url)
    publish_in_time(queue)
    rabbitmq_node.wipe()
    publish_in_time(queue)
    assert queue.depth() == 1
    rabbitmq_node.purge("postroom.normal")


def test_silence_keeps_the_connection(rabbitmq: RabbitMQ, queue: CeleryQueue) -> None:
    rabbitmq.control("eval", "application:set_env(rabbit, heartbeat, 1).")
    try:
        rabbitmq.close_all_connections()
        queue.ping()  # a new connection; it agrees with the broker on one second
        names, deadline = _connections(rabbitmq), time.monotonic() + 4
        while time.monotonic() < deadline:  # the broker would hang up after two or three
            assert _connections(rabbitmq) == names
    finally:
        rabbitmq.control("eval", "application:set_env(rabbit, heartbeat, 10).")


def _connections(rabbitmq: RabbitMQ) -> list[str]:
    return sorted(rabbitmq.control("list_connections", "--silent", "name").split("\n"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda url: url.replace("guest:guest", "guest:sesame"), "refuses this user or password"),
        (lambda url: url.rsplit("/", 1)[0] + "/" + quote("elsewhere"), "no such virtual host"),
        (lambda url: "amqp://guest:sesame@127.0.0.1:1//", "cannot be reached"),
        (lambda url: "amqp://guest:sesame@no-such-host.invalid//", "cannot be reached"),
    ],
)
def test_wrong_broker_url_is_told_in_one_sentence(
    rabbitmq: RabbitMQ, open_queue: Open, change: Callable[[str], str], sentence: str
) -> None:
    told = refusal(open_queue(change(rabbitmq.url)))
    assert sentence in told
    assert "CELERY_BROKER_URL" in told
    assert "\n" not in told
    assert "sesame" not in told


def test_queue_with_other_arguments_is_told_in_one_sentence(rabbitmq: RabbitMQ, open_queue: Open) -> None:
    with Connection(rabbitmq.url) as connection:
        Queue("postroom.bulk", Exchange("postroom", type="direct"), routing_key="bulk")(connection).declare()
    told = refusal(open_queue(rabbitmq.url))
    assert "other arguments" in told
    assert "postroom.bulk" in told


def test_broker_that_is_down_at_first_is_found_later(rabbitmq: RabbitMQ, open_queue: Open) -> None:
    rabbitmq.kill()
    queue = open_queue(rabbitmq.url)
    assert "cannot be reached" in refusal(queue)
    with pytest.raises(QueueUnavailable):
        queue.depth()
    with pytest.raises(QueueUnavailable):
        queue.ping()
    rabbitmq.start()
    publish_in_time(queue)
    assert queue.depth() == 1
    assert queue.dead_letters() == 0


def test_lane_whose_queue_is_full_holds_up_no_other(rabbitmq: RabbitMQ) -> None:
    queue = CeleryQueue(rabbitmq.url, rest_seconds=60)
    publish_in_time(queue)
    full = {"pattern": "normal$", "apply-to": "queues", "definition": {"max-length": 1, "overflow": "reject-publish"}}
    rabbitmq.call("PUT", f"policies/{quote(rabbitmq.vhost, safe='')}/full", full)
    deadline = time.monotonic() + 20
    while publish_chunks([(Lane.NORMAL, ["id"])], queue=queue, chunk_size=1):  # until the policy is in force
        assert time.monotonic() < deadline
    before = queue.depth()
    due = [(lane, [f"{lane}-1", f"{lane}-2"]) for lane in (Lane.URGENT, Lane.NORMAL, Lane.BULK)]
    assert publish_chunks(due, queue=queue, chunk_size=1) == 4
    assert queue.depth() == before + 4
    assert "is its queue full" in refusal(queue)
    queue.close()


def test_nothing_is_kept_of_a_wake_up_that_was_published(queue: CeleryQueue) -> None:
    for _ in range(3):
        publish_in_time(queue)
    assert not queue._line._channel.events["basic_return"]
