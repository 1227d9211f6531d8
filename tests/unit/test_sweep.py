"""A sweep tells whether it still turns, and publishes no more than anybody could take."""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

import pytest

from postroom import sweep
from postroom.mail.email import Lane
from postroom.queue.memory import MemoryQueue
from postroom.store.base import Store
from tests import make


def in_a_while(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes to hold within five seconds."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.01) for _ in range(500))


def test_sweep_turns_until_it_is_closed_and_trouble_with_a_duty_does_not_end_it() -> None:
    steps = threading.Semaphore(0)

    def troubled() -> int:
        steps.release()
        raise LookupError("of the test")

    sweeping = sweep.Sweep([(troubled, 0.01)])
    assert not sweeping.turning()
    sweeping.start()
    for _ in range(3):
        assert steps.acquire(timeout=5)
    assert sweeping.turning()
    sweeping.close()
    assert not sweeping.turning()


def test_sweep_does_not_turn_while_one_of_its_duties_is_stuck() -> None:
    free, now = threading.Event(), [0.0]

    def stuck() -> int:
        free.wait(5)
        return 0

    sweeping = sweep.Sweep([(stuck, 60), (lambda: 0, 0.01)], clock=lambda: now[0])
    sweeping.start()
    assert in_a_while(sweeping.turning)
    now[0] = sweep.LONGEST_STEP_SECONDS + 1
    assert not sweeping.turning()
    free.set()
    assert in_a_while(sweeping.turning)
    sweeping.close()


@pytest.mark.parametrize(
    ("done", "seconds", "steps"),
    [(sweep.STEP, 0.0, 3), (1, sweep.LONG_STEP_SECONDS, 3), (1, 0.0, 1), (0, sweep.LONG_STEP_SECONDS, 1)],
)
def test_sweep_goes_on_at_once_where_a_step_has_left_something(done: int, seconds: float, steps: int) -> None:
    now, taken = [0.0], [0]

    def duty() -> int:
        taken[0] += 1
        now[0] += seconds
        return done if taken[0] < 3 else 0

    sweeping = sweep.Sweep([(duty, 3600)], clock=lambda: now[0])
    sweeping.start()
    assert in_a_while(lambda: taken[0] == steps)
    sweeping.close()
    assert taken[0] == steps


class SetBack:
    """A store whose clock was set back while this process ran; it notes by what time it is asked to end claims."""

    def __init__(self) -> None:
        self.set_to = make.now()
        self.lapsed_by: list[datetime] = []

    def clock(self) -> datetime:
        return self.set_to + 2 * make.HOUR

    def lapse_clock(self) -> datetime:
        return self.set_to

    def recover(self, _: int, *, now: datetime, **__: object) -> int:
        self.lapsed_by.append(now)
        return 0


def test_claims_of_processes_that_began_after_the_clock_was_set_back_do_not_lapse_before_their_time() -> None:
    store = SetBack()
    sweep.recover_lapsed(store=cast(Store, store), doubt_delay=make.HOUR)
    assert store.lapsed_by == [store.set_to]


class OneDue:
    """A store with one email to publish, which counts as published once it was taken."""

    def __init__(self) -> None:
        self.waiting = ["due"]

    def clock(self) -> datetime:
        return make.now()

    def due(self, _: int, **__: object) -> Mapping[Lane, list[str]]:
        taken, self.waiting = self.waiting, []
        return {Lane.NORMAL: taken} if taken else {}


def test_nothing_is_published_behind_a_long_queue_until_it_is_shorter() -> None:
    store, queue = OneDue(), MemoryQueue()
    for _ in range(sweep.LONG_QUEUE):
        queue.publish(["earlier"], Lane.NORMAL)

    def published() -> int:
        return sweep.publish_due(store=cast(Store, store), queue=queue, chunk_size=100, again_after=make.HOUR)

    assert published() == 0
    assert (queue.depth(), store.waiting) == (sweep.LONG_QUEUE, ["due"])
    queue.take(0)
    assert published() == 1
    assert (queue.depth(), store.waiting) == (sweep.LONG_QUEUE, [])


def test_sweep_that_was_never_started_can_be_closed() -> None:
    sweep.Sweep([(lambda: 0, 1.0)]).close()
