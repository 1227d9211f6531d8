"""Upkeep, one function per duty: recover lapsed claims, fail what is too old, publish what is due, prune what ended.

Each does one bounded step and returns how much it did; any number of sweeps may run at once.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeAlias

from postroom.errors import QueueUnavailable, StoreError
from postroom.queue.base import Queue
from postroom.queue.publisher import publish_chunks
from postroom.store.base import Store

log = logging.getLogger(__name__)

STEP = 1000  # emails per duty and step
LONG_STEP_SECONDS = 1.0  # after so long a store leaves the rest to the next step
LONGEST_STEP_SECONDS = 120.0  # every wait for a store or a broker ends long before
LONG_QUEUE = 1000  # wake-ups; behind so many, more help nobody: a turn that finds work goes on with all that is due

Duty: TypeAlias = tuple[Callable[[], int], float]
"""One step, and the pause in seconds until the next."""


def recover_lapsed(*, store: Store, doubt_delay: timedelta) -> int:
    """Brings back emails whose worker crashed or froze."""
    count = store.recover(STEP, now=store.lapse_clock(), doubt_delay=doubt_delay)
    if count:
        log.warning("claims recovered", extra={"count": count})
    return count


def fail_expired(*, store: Store) -> int:
    """Fails emails whose deadline passed while they waited."""
    count = store.expire(STEP, now=store.clock())
    if count:
        log.warning("emails expired", extra={"count": count})
    return count


def publish_due(*, store: Store, queue: Queue, chunk_size: int, again_after: timedelta) -> int:
    """Publishes what has come due, and what was published and nobody claimed. Waits while the broker is away, so that
    all is published the moment it is back, and while many wake-ups wait already."""
    try:
        if queue.depth() >= LONG_QUEUE:
            return 0
    except QueueUnavailable as error:
        log.warning("wake-up not published", extra={"reason": str(error)})
        return 0
    now = store.clock()
    by_lane = store.due(STEP, now=now, wake_up_again_at=now + again_after)
    publish_chunks(by_lane.items(), queue=queue, chunk_size=chunk_size)
    return sum(map(len, by_lane.values()))


def rebuild_queue(*, store: Store, queue: Queue, chunk_size: int, again_after: timedelta) -> int:
    """Publishes everything due at once, for a broker that has lost its data; returns how many emails.

    What was published counts as published for `again_after`; looking that far ahead finds all of it. Raises
    `QueueUnavailable`; without this step, the sweep does the same a little later.
    """
    queue.ping()
    now, count = store.clock(), 0
    horizon = now + again_after
    again_at = horizon + timedelta(milliseconds=1)
    while by_lane := store.due(STEP, now=now, wake_up_again_at=again_at, published_until=horizon):
        taken = sum(map(len, by_lane.values()))
        published = publish_chunks(by_lane.items(), queue=queue, chunk_size=chunk_size)
        count += published
        if published < taken:
            raise QueueUnavailable("the broker stopped taking wake-ups; the sweep publishes the rest")
    return count


def prune_finished(*, store: Store, retention: timedelta) -> int:
    """Deletes emails that ended long ago, and idempotency keys that have expired."""
    now = store.clock()
    return store.prune(STEP, now=now, finished_before=now - retention)


class Sweep:
    """Runs duties in a thread, each with its own pause, until it is closed."""

    def __init__(self, duties: Sequence[Duty], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stop = threading.Event()
        self._step_began: dict[int, float] = {}  # of the duties that are at a step now
        self._threads = [
            threading.Thread(target=self._repeat, args=(i, *duty), name=f"sweep-{i}", daemon=True)
            for i, duty in enumerate(duties)
        ]

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def turning(self) -> bool:
        """Whether every duty still takes its steps; for health checks."""
        began = min(self._step_began.copy().values(), default=math.inf)
        return all(t.is_alive() for t in self._threads) and self._clock() - began < LONGEST_STEP_SECONDS

    def close(self) -> None:
        """Ends after the step under way. Does nothing if it was never started."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _repeat(self, number: int, duty: Callable[[], int], pause_seconds: float) -> None:
        while not self._stop.is_set():
            began = self._step_began[number] = self._clock()
            done = _attempted(duty)
            del self._step_began[number]
            more = done >= STEP or (done > 0 and self._clock() - began >= LONG_STEP_SECONDS)
            self._stop.wait(0.01 if more else pause_seconds)


def _attempted(duty: Callable[[], int]) -> int:
    """Runs one step; trouble is logged and the next step tries again, for nothing else will."""
    try:
        return duty()
    except StoreError as error:
        log.error("store unavailable", extra={"reason": str(error)})
    except Exception:
        log.exception("unexpected error")
    return 0
