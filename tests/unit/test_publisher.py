"""The publisher: a lone wake-up goes at once, those of a busy moment together, and none that fits is lost."""

import logging
import threading
import time
from collections.abc import Sequence

import pytest

from postroom.mail.email import Lane
from postroom.queue import publisher as publishing
from postroom.queue.memory import MemoryQueue
from postroom.queue.publisher import AT_ONCE, MOST_UNPUBLISHED, PAUSE_SECONDS, Publisher
from postroom.queue.wake_up import MOST_IDS

WAIT_SECONDS = 10.0


class GatedQueue(MemoryQueue):
    """A queue behind a broker that takes nothing until its gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def publish(self, ids: Sequence[str], lane: Lane) -> None:
        assert self.gate.wait(WAIT_SECONDS)
        super().publish(ids, lane)


def all_taken(queue: MemoryQueue) -> list[tuple[Lane, list[str]]]:
    taken = []
    while wake_up := queue.take(0):
        taken.append(wake_up)
    return taken


def test_lone_wake_up_is_published_without_being_asked_twice() -> None:
    queue = MemoryQueue()
    publisher = Publisher(queue=queue, chunk_size=100)
    publisher.start()
    for serial in range(3):
        publisher.publish([(Lane.URGENT, str(serial))])
        assert queue.take(WAIT_SECONDS) == (Lane.URGENT, [str(serial)])
    publisher.close()


def test_urgent_wake_up_does_not_wait_for_the_pause_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PAUSE_SECONDS", 3600.0)  # no port: a pause that no test could mistake for none
    queue = MemoryQueue()
    publisher = Publisher(queue=queue, chunk_size=100)
    publisher.start()
    for lane, one in ((Lane.NORMAL, "n"), (Lane.URGENT, "u")):
        publisher.publish([(lane, one)])
        assert queue.take(WAIT_SECONDS) == (lane, [one])
    publisher.publish([(Lane.BULK, "b")])
    publisher.close()
    assert all_taken(queue) == [(Lane.BULK, ["b"])]


def test_busy_moment_shares_wake_ups_and_keeps_the_order() -> None:
    queue = MemoryQueue()
    publisher = Publisher(queue=queue, chunk_size=1000)
    publisher.start()
    ids = [str(serial) for serial in range(1000)]
    began = time.monotonic()
    for one in ids:
        publisher.publish([(Lane.NORMAL, one)])
    publisher.close()
    most = (time.monotonic() - began) / PAUSE_SECONDS + 2
    wake_ups = all_taken(queue)
    assert [one for _, chunk in wake_ups for one in chunk] == ids
    assert len(wake_ups) <= most


def test_lasting_load_brings_few_wake_ups_of_many_emails() -> None:
    queue = MemoryQueue()
    publisher = Publisher(queue=queue, chunk_size=10)
    publisher.start()
    ids = [str(serial) for serial in range(5000)]
    began = time.monotonic()
    for start in range(0, len(ids), 10):
        publisher.publish([(Lane.NORMAL, one) for one in ids[start : start + 10]])
        time.sleep(0.002)
    publisher.close()
    rounds = (time.monotonic() - began) / PAUSE_SECONDS + 2
    wake_ups = all_taken(queue)
    assert [one for _, chunk in wake_ups for one in chunk] == ids
    assert len(wake_ups[0][1]) == 10
    assert len(wake_ups) <= AT_ONCE + 2 * rounds
    assert max(len(chunk) for _, chunk in wake_ups) <= MOST_IDS


def test_end_publishes_what_waits_in_chunks_of_one_lane() -> None:
    queue = GatedQueue()
    publisher = Publisher(queue=queue, chunk_size=2)
    publisher.start()
    publisher.publish([(Lane.NORMAL, "0")])
    publisher.publish([(Lane.BULK, "b1"), (Lane.NORMAL, "n1"), (Lane.BULK, "b2"), (Lane.BULK, "b3")])
    queue.gate.set()
    publisher.close()
    taken = all_taken(queue)
    assert all(len(chunk) <= 2 for _, chunk in taken)
    assert [one for lane, chunk in taken if lane is Lane.BULK for one in chunk] == ["b1", "b2", "b3"]
    assert [one for lane, chunk in taken if lane is Lane.NORMAL for one in chunk] == ["0", "n1"]


class Broken(MemoryQueue):
    """A queue with a bug, for one lane."""

    def publish(self, ids: Sequence[str], lane: Lane) -> None:
        if lane is Lane.BULK:
            raise RuntimeError("a bug")
        super().publish(ids, lane)


def test_bug_in_one_round_does_not_end_the_publisher(caplog: pytest.LogCaptureFixture) -> None:
    queue = Broken()
    publisher = Publisher(queue=queue, chunk_size=100)
    publisher.start()
    publisher.publish([(Lane.BULK, "b")])
    while not caplog.records:
        time.sleep(0.005)
    publisher.publish([(Lane.URGENT, "u")])
    assert queue.take(WAIT_SECONDS) == (Lane.URGENT, ["u"])
    publisher.close()
    assert [record.message for record in caplog.records] == ["unexpected error"]


def test_what_a_dead_broker_leaves_no_room_for_is_left_to_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    ids = [str(serial) for serial in range(MOST_UNPUBLISHED + 2)]
    queue = GatedQueue()
    publisher = Publisher(queue=queue, chunk_size=100)
    with caplog.at_level(logging.WARNING):
        publisher.publish([(Lane.NORMAL, one) for one in ids])
        publisher.publish([(Lane.NORMAL, "late")])
    assert [record.getMessage() for record in caplog.records] == ["wake-up not published"] * 2
    queue.gate.set()
    publisher.start()
    publisher.close()
    assert [one for _, chunk in all_taken(queue) for one in chunk] == ids[:MOST_UNPUBLISHED]


def test_publisher_that_was_never_started_can_be_closed() -> None:
    Publisher(queue=MemoryQueue(), chunk_size=100).close()
