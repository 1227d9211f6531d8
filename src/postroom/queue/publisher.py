"""Publishes the wake-ups of what was just stored, off the submission path; and cuts ids into chunks for any caller."""

import logging
import queue as waiting
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from postroom.errors import QueueUnavailable
from postroom.mail.email import Lane
from postroom.queue.base import Queue

log = logging.getLogger(__name__)

MOST_UNPUBLISHED = 100_000  # ids that wait for a slow broker; beyond that the sweep publishes them


class Publisher:
    """Publishes wake-ups from one thread of its own, so that no submission ever waits for the broker."""

    def __init__(self, *, queue: Queue, chunk_size: int) -> None:
        self._queue = queue
        self._chunk_size = chunk_size
        self._waiting: waiting.Queue[tuple[Lane, str] | None] = waiting.Queue(MOST_UNPUBLISHED)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begins to publish."""
        self._thread.start()

    def publish(self, wake_ups: Iterable[tuple[Lane, str]]) -> None:
        """Queues wake-ups and returns at once; what does not fit is left to the sweep."""
        try:
            for wake_up in wake_ups:
                self._waiting.put_nowait(wake_up)
        except waiting.Full:
            log.warning("wake-up not published", extra={"reason": "too many wait for the broker"})

    def close(self) -> None:
        """Publishes what waits, then ends."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            ids: dict[Lane, list[str]] = {lane: [] for lane in Lane}
            for wake_up in self._drain():
                if wake_up is None:
                    ended = True
                    break
                ids[wake_up[0]].append(wake_up[1])
            publish_chunks(ids.items(), queue=self._queue, chunk_size=self._chunk_size)

    def _drain(self) -> Iterator[tuple[Lane, str] | None]:
        """What waits now, at least one."""
        yield self._waiting.get()
        for _ in range(self._waiting.qsize()):
            yield self._waiting.get()


def publish_chunks(by_lane: Iterable[tuple[Lane, Sequence[str]]], *, queue: Queue, chunk_size: int) -> int:
    """Publishes ids in chunks of one lane; returns how many. Stops at the first that the broker does not take: the
    store still has them all, and their next wake-up time brings them back."""
    published = 0
    try:
        for lane, ids in by_lane:
            for chunk in _chunks(ids, chunk_size):
                queue.publish(chunk, lane)
                published += len(chunk)
    except QueueUnavailable as error:
        log.warning("wake-up not published", extra={"reason": str(error)})
    return published


def _chunks(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(ids)
    while chunk := list(islice(rest, size)):
        yield chunk
