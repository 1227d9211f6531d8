"""Wake-ups within one process."""

import threading
from collections import deque
from collections.abc import Sequence
from itertools import count

from postroom.errors import QueueUnavailable
from postroom.mail.email import Lane

OLDEST_EVERY = 5  # of so many takes, one goes to the wake-up that has waited longest, whatever its lane


class MemoryQueue:
    """A bounded queue for the threads of one process. What it holds is lost with it; the store knows it all."""

    def __init__(self, *, limit: int = 10_000) -> None:
        """`limit` is in wake-ups."""
        self._limit = limit
        self._lanes: dict[Lane, deque[tuple[int, list[str]]]] = {lane: deque() for lane in Lane}
        self._published = count()
        self._taken = count(1)
        self._changed = threading.Condition()
        self._closed = False

    def publish(self, ids: Sequence[str], lane: Lane) -> None:
        """Adds a wake-up. Raises `QueueUnavailable` when the queue is full or closed."""
        with self._changed:
            if self._depth() >= self._limit:
                raise QueueUnavailable(f"the queue is full: {self._limit} wake-ups wait")
            self._lanes[lane].append((next(self._published), list(ids)))
            self._changed.notify()

    def take(self, timeout: float) -> tuple[Lane, list[str]] | None:
        """The next wake-up; None when none comes within `timeout` seconds or the queue is closed.

        Urgent before normal before bulk, but for every fifth, so that nothing waits for ever.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._lanes.values()), timeout)
            if self._closed or not any(self._lanes.values()):
                return None
            lane = self._next_lane()
            _, ids = self._lanes[lane].popleft()
            return lane, ids

    def depth(self) -> int:
        """How many wake-ups wait. Raises `QueueUnavailable` when the queue is closed."""
        with self._changed:
            return self._depth()

    def dead_letters(self) -> int:
        """None: what this process has published it can read. Raises `QueueUnavailable` when the queue is closed."""
        self.ping()
        return 0

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

    def _next_lane(self) -> Lane:
        waiting = [lane for lane, wake_ups in self._lanes.items() if wake_ups]
        if next(self._taken) % OLDEST_EVERY == 0:
            return min(waiting, key=lambda lane: self._lanes[lane][0][0])
        return waiting[0]
