"""Publishes the wake-ups of what was just stored, off the submission path; and cuts ids into chunks for any caller."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from postroom.errors import QueueUnavailable
from postroom.mail.email import Lane
from postroom.queue.base import Queue
from postroom.queue.wake_up import MOST_IDS

log = logging.getLogger(__name__)

MOST_UNPUBLISHED = 100_000  # ids that wait for a slow broker; beyond that the sweep publishes them
PAUSE_SECONDS = 0.1  # between two rounds: a wake-up costs as much as ten emails, and a worker at work needs none
AT_ONCE = 20  # wake-ups of full chunks that go without a pause, to bring many workers to work …
A_SECOND = 10  # … and how many a second from then on; these name more emails each


class Publisher:
    """Publishes wake-ups from one thread of its own, so that no submission ever waits for the broker.

    A lone one goes at once. Those that soon follow another wait a moment for more, unless they are urgent. Under
    sustained load there are few, each of many emails: busy workers find by themselves what else is due.
    """

    def __init__(self, *, queue: Queue, chunk_size: int) -> None:
        self._queue = queue
        self._chunk_size = chunk_size
        self._waiting: deque[tuple[Lane, str]] = deque()
        self._arrival = threading.Condition()
        self._hurry = threading.Event()
        self._ended = False
        self._allowance = float(AT_ONCE)  # of wake-ups
        self._allowed_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begins to publish."""
        self._thread.start()

    def publish(self, wake_ups: Iterable[tuple[Lane, str]]) -> None:
        """Queues wake-ups and returns at once; what does not fit is left to the sweep."""
        new = list(wake_ups)
        with self._arrival:
            room = MOST_UNPUBLISHED - len(self._waiting)
            self._waiting.extend(new[:room])
            self._arrival.notify()
        if any(lane is Lane.URGENT for lane, _ in new):
            self._hurry.set()
        if len(new) > room:
            log.warning("wake-up not published", extra={"reason": "too many wait for the broker"})

    def close(self) -> None:
        """Publishes what waits, then ends. Does nothing if it was never started."""
        with self._arrival:
            self._ended = True
            self._arrival.notify()
        self._hurry.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        last_round = -PAUSE_SECONDS
        while self._wait():
            pause = last_round + PAUSE_SECONDS - time.monotonic()
            if pause > 0 and (len(self._waiting) < self._chunk_size or self._allowed() < 1):
                self._hurry.wait(pause)  # not the condition: nobody has to wake this thread up for each that comes
            self._hurry.clear()
            last_round = time.monotonic()
            try:
                self._publish(self._take())
            except Exception:  # the sweep publishes what was taken; what comes next is published here
                log.exception("unexpected error")

    def _wait(self) -> bool:
        """Returns when something waits; False when nothing does and this is the end."""
        with self._arrival:
            self._arrival.wait_for(lambda: self._waiting or self._ended)
            return bool(self._waiting)

    def _allowed(self) -> float:
        now = time.monotonic()
        self._allowance = min(AT_ONCE, self._allowance + (now - self._allowed_at) * A_SECOND)
        self._allowed_at = now
        return self._allowance

    def _publish(self, by_lane: Mapping[Lane, Sequence[str]]) -> None:
        """Publishes in chunks, larger ones where there would be more than are allowed."""
        waiting = sum(map(len, by_lane.values()))
        size = math.ceil(waiting / max(1, int(self._allowed())))
        size = min(max(size, self._chunk_size), MOST_IDS)
        self._allowance -= min(self._allowance, math.ceil(waiting / size))
        publish_chunks(by_lane.items(), queue=self._queue, chunk_size=size)

    def _take(self) -> Mapping[Lane, Sequence[str]]:
        """What waits now, by lane, in the order of service."""
        with self._arrival:
            taken, self._waiting = self._waiting, deque()
        ids: dict[Lane, list[str]] = {lane: [] for lane in Lane}
        for lane, email_id in taken:
            ids[lane].append(email_id)
        return ids


def publish_chunks(by_lane: Iterable[tuple[Lane, Sequence[str]]], *, queue: Queue, chunk_size: int) -> int:
    """Publishes ids in chunks of one lane; returns how many. A lane ends at the first chunk that the broker does not
    take, and the others go on, for its queue alone may be down or full. The store still has all of them, and their next
    wake-up time brings them back."""
    published = 0
    for lane, ids in by_lane:
        try:
            for chunk in _chunks(ids, chunk_size):
                queue.publish(chunk, lane)
                published += len(chunk)
        except QueueUnavailable as error:
            log.warning("wake-up not published", extra={"lane": str(lane), "reason": str(error)})
    return published


def _chunks(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(ids)
    while chunk := list(islice(rest, size)):
        yield chunk
