"""Wake-ups within one process. They travel as JSON, so that both ends meet what a broker would hand them."""

import threading
from collections import deque
from collections.abc import Sequence
from itertools import count

import orjson

from postroom.errors import QueueUnavailable
from postroom.mail.email import Lane

VERSION = 1
OLDEST_EVERY = 5  # of so many takes, one goes to the wake-up that has waited longest, whatever its lane


class MemoryQueue:
    """A bounded queue for the threads of one process. What it holds is lost with it; the store knows it all."""

    def __init__(self, *, limit: int = 10_000) -> None:
        """`limit` is in wake-ups."""
        self._limit = limit
        self._lanes: dict[Lane, deque[tuple[int, bytes]]] = {lane: deque() for lane in Lane}
        self._published = count()
        self._taken = count(1)
        self._changed = threading.Condition()
        self._closed = False

    def publish(self, ids: Sequence[str], lane: Lane) -> None:
        """Adds a wake-up. Raises `QueueUnavailable` when the queue is full or closed."""
        body = orjson.dumps({"v": VERSION, "lane": lane, "ids": list(ids)})
        with self._changed:
            if self._depth() >= self._limit:
                raise QueueUnavailable(f"the queue is full: {self._limit} wake-ups wait")
            self._lanes[lane].append((next(self._published), body))
            self._changed.notify()

    def take(self, timeout: float) -> tuple[Lane, list[str]] | None:
        """The next wake-up; None when none comes within `timeout` seconds or the queue is closed.

        Urgent before normal before bulk, but for every fifth, so that nothing waits for ever.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._lanes.values()), timeout)
            if self._closed or not any(self._lanes.values()):
                return None
            _, body = self._next_lane().popleft()
        fields = orjson.loads(body)
        return Lane(fields["lane"]), fields["ids"]

    def depth(self) -> int:
        """How many wake-ups wait. Raises `QueueUnavailable` when the queue is closed."""
        with self._changed:
            return self._depth()

    def ping(self) -> None:
        """Raises `QueueUnavailable` when the queue is closed."""
        self.depth()

    def close(self) -> None:
        """Drops what waits and sends every waiting taker home."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _depth(self) -> int:
        if self._closed:
            raise QueueUnavailable("the queue is closed")
        return sum(map(len, self._lanes.values()))

    def _next_lane(self) -> deque[tuple[int, bytes]]:
        waiting = [lane for lane in self._lanes.values() if lane]
        if next(self._taken) % OLDEST_EVERY == 0:
            return min(waiting, key=lambda lane: lane[0][0])
        return waiting[0]
