"""What the queue in memory adds to what every queue promises: order of lanes, bounds, and how takers end."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from postroom.errors import QueueUnavailable
from postroom.mail.email import Lane
from postroom.queue.memory import OLDEST_EVERY, MemoryQueue


def taken(queue: MemoryQueue) -> tuple[Lane, list[str]]:
    wake_up = queue.take(0)
    assert wake_up is not None
    return wake_up


def test_urgent_goes_before_normal_before_bulk() -> None:
    queue = MemoryQueue()
    for lane in (Lane.BULK, Lane.NORMAL, Lane.URGENT):
        queue.publish([lane], lane)
    assert [taken(queue)[0] for _ in Lane] == [Lane.URGENT, Lane.NORMAL, Lane.BULK]


def test_no_lane_starves_while_more_urgent_wake_ups_keep_coming() -> None:
    queue = MemoryQueue()
    queue.publish(["normal"], Lane.NORMAL)
    queue.publish(["bulk"], Lane.BULK)
    lanes = []
    for serial in range(3 * OLDEST_EVERY):
        queue.publish([str(serial)], Lane.URGENT)
        lanes.append(taken(queue)[0])
    assert {Lane.NORMAL, Lane.BULK} <= set(lanes)
    assert lanes.count(Lane.URGENT) >= len(lanes) - 3


def test_full_queue_refuses_until_somebody_takes() -> None:
    queue = MemoryQueue(limit=2)
    queue.publish(["a"], Lane.NORMAL)
    queue.publish(["b"], Lane.BULK)
    with pytest.raises(QueueUnavailable, match="full"):
        queue.publish(["c"], Lane.URGENT)
    taken(queue)
    queue.publish(["c"], Lane.URGENT)
    assert queue.depth() == 2


def test_taker_without_a_wake_up_returns_in_time() -> None:
    assert MemoryQueue().take(0.01) is None


def test_waiting_taker_gets_what_is_published() -> None:
    queue = MemoryQueue()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(queue.take, 10)
        queue.publish(["a"], Lane.NORMAL)
        assert waiting.result(10) == (Lane.NORMAL, ["a"])


def test_close_sends_waiting_takers_home() -> None:
    queue = MemoryQueue()
    started = threading.Barrier(4)

    def take() -> object:
        started.wait(10)
        return queue.take(60)

    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(take) for _ in range(3)]
        started.wait(10)
        queue.close()
        assert [future.result(10) for future in waiting] == [None] * 3


def test_closed_queue_hands_out_nothing_more() -> None:
    queue = MemoryQueue()
    queue.publish(["a"], Lane.NORMAL)
    queue.close()
    assert queue.take(0) is None


def test_every_wake_up_is_taken_once_by_many_threads() -> None:
    queue = MemoryQueue()
    serial = count()

    def publish() -> None:
        for _ in range(250):
            queue.publish([str(next(serial))], Lane.NORMAL)

    def take() -> list[str]:
        found = []
        while wake_up := queue.take(2):
            found += wake_up[1]
            if len(found) >= 250:
                break
        return found

    with ThreadPoolExecutor(8) as pool:
        takers = [pool.submit(take) for _ in range(4)]
        for publisher in [pool.submit(publish) for _ in range(4)]:
            publisher.result(10)
        found = [email_id for taker in takers for email_id in taker.result(10)]
    assert sorted(map(int, found)) == list(range(1000))
