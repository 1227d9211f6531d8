"""Serves `/metrics` for Prometheus, in its text format: what was counted, and how emails stand in the store now."""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from postroom import __version__
from postroom.errors import QueueUnavailable, SettingsError, StoreError
from postroom.mail.email import Lane, Status
from postroom.metrics import Family, Numbers
from postroom.queue.base import Queue
from postroom.store.base import Store

BOOKS_SECONDS = 10.0  # for which the books are good, at least
BOOKS_PATIENCE_SECONDS = 2.0  # of who asks for them; what was counted before must do then
BOOKS_SHARE = 0.02  # of the time, at most, that counting them takes: a million emails may take a second


def serve(address: str, numbers: Numbers, *further: Collector) -> None:
    """Serves `/metrics` at `host:port` from a thread of this process, until it ends; a process that is forked from it
    lets go of the port. Raises `SettingsError` when the address cannot be had."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in (CounterCollector(numbers), *further):
        registry.register(collector)
    parts = urlsplit(f"//{address}")
    try:
        server, _ = start_http_server(parts.port or 0, addr=parts.hostname or "", registry=registry)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError([f"POSTROOM_METRICS_ADDRESS: cannot listen on {address} ({reason})"]) from error
    os.register_at_fork(after_in_child=server.socket.close)


class CounterCollector(Collector):
    """What all processes of this command have counted."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        """Every family, zeros included; but a request that never came is not shown."""
        info = InfoMetricFamily("postroom", "Version of this Postroom.")
        info.add_metric([], {"version": __version__})
        yield info
        for family, found in self._numbers.read():
            shown = {values: numbers for values, numbers in found.items() if any(numbers) or len(family.labels) < 2}
            yield _histogram(family, shown) if family.bounds else _counter(family, shown)


class StoreCollector(Collector):
    """How many emails stand where, and how long the longest waits: asked of the store and the broker when shown."""

    def __init__(self, *, store: Store, queue: Queue | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._queue = queue
        self._books = _Books(store, clock)
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """What can be learned; of a store or a broker that does not answer, that it does not."""
        with self._lock:
            yield from self._of_store()
            if self._queue:
                yield from self._of_queue(self._queue)

    def _of_store(self) -> Iterator[Metric]:
        waits: Metric | None = None
        with suppress(StoreError):
            waits = self._waits()
        text = "Whether the store answers."
        yield GaugeMetricFamily("postroom_store_up", text, value=float(waits is not None))
        if waits is None:
            return
        yield waits
        text = "Emails that are scheduled, queued, sending or retrying."
        with suppress(StoreError):
            yield GaugeMetricFamily("postroom_emails_unfinished", text, value=self._store.backlog())
        text = "All stored emails, by status; counted some seconds ago, or longer ago where there are millions."
        books = GaugeMetricFamily("postroom_emails", text, labels=["status"])
        for status, count in self._books.counts().items():
            books.add_metric([status.value], count)
        yield books

    def _waits(self) -> Metric:
        now = self._store.clock()
        since = self._store.waiting_since(now)
        text = "How long the most overdue email has waited for a worker, by lane; 0 if none waits."
        waits = GaugeMetricFamily("postroom_longest_wait_seconds", text, labels=["lane"])
        for lane in Lane:
            waits.add_metric([lane.value], (now - since.get(lane, now)).total_seconds())
        return waits

    def _of_queue(self, queue: Queue) -> Iterator[Metric]:
        waiting = dead = None
        with suppress(QueueUnavailable):
            waiting, dead = queue.depth(), queue.dead_letters()
        yield GaugeMetricFamily("postroom_broker_up", "Whether the broker answers.", value=float(waiting is not None))
        if waiting is not None and dead is not None:
            text = "Wake-ups in the queues that no worker has taken yet."
            yield GaugeMetricFamily("postroom_wake_ups_waiting", text, value=waiting)
            text = "Wake-ups that were put aside because no worker could read them."
            yield GaugeMetricFamily("postroom_dead_letters", text, value=dead)


class _Books:
    """All emails by status, counted in a thread of its own: that may take longer than whoever asks will wait."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._known: Mapping[Status, int] = {}
        self._good_until = -math.inf
        self._counting: threading.Thread | None = None

    def counts(self) -> Mapping[Status, int]:
        """What was counted last, which is nothing at first where counting takes long."""
        if self._counting is None and self._clock() >= self._good_until:
            self._counting = threading.Thread(target=self._count, name="books", daemon=True)
            self._counting.start()
        if self._counting is not None:
            self._counting.join(BOOKS_PATIENCE_SECONDS)
            if not self._counting.is_alive():
                self._counting = None
        return self._known

    def _count(self) -> None:
        began = self._clock()
        with suppress(StoreError):
            self._known = self._store.counts()
        ended = self._clock()
        self._good_until = ended + max(BOOKS_SECONDS, (ended - began) / BOOKS_SHARE)


def _counter(family: Family, shown: Mapping[tuple[str, ...], Sequence[float]]) -> Metric:
    made = CounterMetricFamily(family.name, family.text, labels=family.labels)
    for values, numbers in shown.items():
        made.add_metric(values, numbers[0])
    return made


def _histogram(family: Family, shown: Mapping[tuple[str, ...], Sequence[float]]) -> Metric:
    made = HistogramMetricFamily(family.name, family.text, labels=family.labels)
    bounds = [*(str(float(bound)) for bound in family.bounds), "+Inf"]
    for values, (*counts, seconds) in shown.items():
        made.add_metric(values, list(zip(bounds, accumulate(counts), strict=True)), sum_value=seconds)
    return made
