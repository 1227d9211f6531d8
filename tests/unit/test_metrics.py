"""What is counted, by whom, and how it is shown."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from postroom import metrics
from postroom.api import counted as api_counted
from postroom.errors import QueueUnavailable, StoreUnavailable
from postroom.exposition import BOOKS_SECONDS, CounterCollector, StoreCollector
from postroom.mail.email import Lane, Status
from postroom.mail.outcome import HandOff, Outcome, Phase, Verdict
from postroom.metrics import Family, Numbers
from postroom.queue.base import Queue
from postroom.store.base import Store
from postroom.store.counted import counted as counted_store
from postroom.store.sqlite import SqliteStore
from postroom.transport.base import Transport
from postroom.transport.counted import counted as counted_transport
from tests import make
from tests.make import HOUR, LEASE, SECOND

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ALL = [*api_counted.families(), *metrics.OF_API, *metrics.OF_WORKER, *metrics.OF_SWEEP]
THINGS = Family(name="things", text="Things.", labels=("kind",), series=(("a",), ("b",)))
WAITS = Family(name="waits_seconds", text="Waits.", bounds=(0.1, 1))


def shown(*collectors: Collector) -> dict[tuple[str, str], float]:
    """All samples on the page, by name and labels, as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    text = generate_latest(registry).decode()
    return {
        (sample.name, ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# -- counting


def test_each_process_counts_in_its_row_and_all_rows_are_added_up() -> None:
    numbers = Numbers([THINGS], rows=3)
    for row in (0, 1, 2, 1):
        numbers.use_row(row)
        numbers.add(THINGS, "b", count=row + 1)
    samples = shown(CounterCollector(numbers))
    assert (samples["things_total", "kind=a"], samples["things_total", "kind=b"]) == (0, 1 + 2 + 3 + 2)


def test_threads_lose_no_count() -> None:
    numbers = Numbers([THINGS, WAITS])

    def count() -> None:
        for _ in range(5000):
            numbers.add(THINGS, "a")
            numbers.observe(WAITS, seconds=0.5)

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    samples = shown(CounterCollector(numbers))
    assert samples["things_total", "kind=a"] == samples["waits_seconds_count", ""] == 20_000
    assert samples["waits_seconds_sum", ""] == pytest.approx(10_000)


def test_histogram_says_how_many_took_at_most_so_long() -> None:
    numbers = Numbers([THINGS, WAITS])
    for seconds in (0.05, 0.1, 0.5, 7):
        numbers.observe(WAITS, seconds=seconds)
    samples = shown(CounterCollector(numbers))
    assert [samples["waits_seconds_bucket", f"le={bound}"] for bound in ("0.1", "1.0", "+Inf")] == [2, 3, 4]
    assert samples["things_total", "kind=a"] == 0


def test_what_is_in_no_family_is_passed_over() -> None:
    numbers = Numbers([THINGS])
    numbers.add(THINGS, "something else")
    numbers.add(metrics.ACCEPTED, "normal")
    numbers.observe(WAITS, seconds=1)
    assert {name for name, _ in shown(CounterCollector(numbers))} == {"postroom_info", "things_total"}


# -- what is counted of stores and transports


@pytest.fixture
def numbers() -> Numbers:
    return Numbers(ALL)


@pytest.fixture
def store(numbers: Numbers, tmp_path: Path) -> Iterator[Store]:
    opened = SqliteStore(tmp_path / "store.sqlite3")
    yield counted_store(opened, numbers)
    opened.close()


def test_store_counts_what_was_accepted_and_no_repetition(store: Store, numbers: Numbers) -> None:
    now = store.clock()
    emails = make.email(now), make.email(now, lane=Lane.BULK)
    submission = make.submission(*emails, key=make.idempotency_key(now + HOUR))
    for _ in range(2):
        store.add([submission], now=now, wake_up_at=now)
    samples = shown(CounterCollector(numbers))
    by_lane = [samples["postroom_emails_accepted_total", f"lane={lane}"] for lane in Lane]
    assert by_lane == [0, 1, 1]


def test_store_counts_what_is_settled_once_it_is_written(store: Store, numbers: Numbers) -> None:
    now = store.clock()
    made = make.email(now), make.email(now), make.scheduled(now, now + HOUR)
    claims = make.claimed(store, now + HOUR, *make.stored(store, now, *made))
    at = now + HOUR + 2 * SECOND
    lives = [make.sent(claims[0], at), make.retrying(claims[1], at, at + HOUR), make.sent(claims[2], at)]
    for _ in range(2):
        store.settle(lives, now=at)
    samples = shown(CounterCollector(numbers))
    assert samples["postroom_emails_settled_total", "status=sent"] == 2
    assert samples["postroom_emails_settled_total", "status=retrying"] == 1
    assert samples["postroom_sent_after_seconds_count", ""] == 2
    assert samples["postroom_sent_after_seconds_sum", ""] == pytest.approx(3602 + 2)


def test_store_counts_a_late_settlement(store: Store, numbers: Numbers) -> None:
    now = store.clock()
    [claim] = make.claimed(store, now, *make.stored(store, now, make.email(now)))
    store.fence({claim.email.id: claim.token}, now=now, lease=LEASE)
    store.recover(10, now=now + 2 * LEASE, doubt_delay=SECOND)
    store.settle_late([make.sent(claim, now)], now=now)
    samples = shown(CounterCollector(numbers))
    assert samples["postroom_claims_recovered_total", ""] == 1
    assert samples["postroom_emails_settled_total", "status=sent"] == 1


def test_store_counts_its_upkeep(store: Store, numbers: Numbers) -> None:
    now = store.clock()
    make.stored(store, now, make.email(now), make.email(now))
    later = now + 200 * HOUR
    assert (store.expire(10, now=later), store.prune(10, now=later + HOUR, finished_before=later + HOUR)) == (2, 2)
    samples = shown(CounterCollector(numbers))
    assert samples["postroom_emails_expired_total", ""] == samples["postroom_emails_pruned_total", ""] == 2


def hand_off(*verdicts: Verdict) -> HandOff:
    outcomes = [Outcome(recipient="a@example.com", verdict=each, phase=Phase.DOT, message="") for each in verdicts]
    return HandOff(email_id="1", relay="simulated", seconds=0.2, outcomes=outcomes)


class Scripted:
    """A transport that yields what it was given, and knows whether it was let go of."""

    capacity = 7

    def __init__(self, *ended: Sequence[HandOff]) -> None:
        self.ended = ended
        self.closed = False

    def send(self, *_: object, **__: object) -> Iterator[Sequence[HandOff]]:
        try:
            yield from self.ended
        finally:
            self.closed = True


def test_transport_counts_outcomes_and_times_attempts(numbers: Numbers) -> None:
    script = Scripted([hand_off(Verdict.ACCEPTED, Verdict.PERMANENT)], [], [hand_off(Verdict.ROUTE)])
    transport = counted_transport(cast(Transport, script), numbers)
    assert list(transport.send(lambda _: (), fence=lambda ids: ids)) == list(script.ended)
    samples = shown(CounterCollector(numbers))
    found = {verdict: samples["postroom_outcomes_total", f"verdict={verdict}"] for verdict in Verdict}
    assert {verdict for verdict, count in found.items() if count == 1} == {
        Verdict.ACCEPTED,
        Verdict.PERMANENT,
        Verdict.ROUTE,
    }
    assert samples["postroom_attempt_duration_seconds_count", ""] == 1
    assert transport.capacity == 7


def test_transport_that_is_let_go_of_early_lets_go_of_its_own(numbers: Numbers) -> None:
    script = Scripted([hand_off(Verdict.ACCEPTED)], [])
    hand_offs = counted_transport(cast(Transport, script), numbers).send(lambda _: (), fence=lambda ids: ids)
    next(hand_offs)
    hand_offs.close()
    assert script.closed


# -- how emails stand


class Books:
    """A store, and a queue, with settable answers; counting the books takes its time."""

    def __init__(self) -> None:
        self.away = False
        self.uncountable = False
        self.counted = 0
        self.time = 0.0

    def clock(self) -> datetime:
        if self.away:
            raise StoreUnavailable("away")
        return datetime.fromisoformat("2026-01-01T00:00:00Z")

    def waiting_since(self, now: datetime) -> Mapping[Lane, datetime]:
        return {Lane.BULK: now - timedelta(minutes=2)}

    def backlog(self) -> int:
        return 5

    def counts(self) -> Mapping[Status, int]:
        self.counted += 1
        self.time += 1.0
        if self.uncountable:
            raise StoreUnavailable("took too long")
        return dict.fromkeys(Status, 3)

    def depth(self) -> int:
        if self.away:
            raise QueueUnavailable("away")
        return 4

    def dead_letters(self) -> int:
        return 2


def store_collector(books: Books) -> StoreCollector:
    return StoreCollector(store=cast(Store, books), queue=cast(Queue, books), clock=lambda: books.time)


def test_store_collector_tells_of_store_and_broker() -> None:
    samples = shown(store_collector(Books()))
    waits = {lane: samples["postroom_longest_wait_seconds", f"lane={lane}"] for lane in Lane}
    assert waits == {Lane.URGENT: 0, Lane.NORMAL: 0, Lane.BULK: 120}
    assert samples["postroom_emails", "status=retrying"] == 3
    assert samples["postroom_emails_unfinished", ""] == 5
    assert samples["postroom_wake_ups_waiting", ""] == 4
    assert samples["postroom_dead_letters", ""] == 2
    assert samples["postroom_store_up", ""] == samples["postroom_broker_up", ""] == 1


def test_store_collector_tells_that_what_is_away_is_away() -> None:
    books = Books()
    books.away = True
    assert shown(store_collector(books)) == {("postroom_store_up", ""): 0, ("postroom_broker_up", ""): 0}


def test_books_are_counted_the_more_rarely_the_longer_it_takes() -> None:
    books = Books()
    shows = store_collector(books)
    for seconds, times in ((0.0, 1), (BOOKS_SECONDS, 1), (39.9, 1), (0.2, 2)):  # a fiftieth of the time: one of 50 s
        books.time += seconds
        assert shown(shows)["postroom_emails", "status=sent"] == 3
        assert books.counted == times


def test_books_that_take_too_long_are_left_out_and_the_rest_is_there() -> None:
    books = Books()
    books.uncountable = True
    samples = shown(store_collector(books))
    assert samples["postroom_store_up", ""] == 1
    assert samples["postroom_emails_unfinished", ""] == 5
    assert ("postroom_emails", "status=sent") not in samples


def test_page_lists_every_metric_and_no_other() -> None:
    listed = set(re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.MULTILINE))
    counters = {family.name if family.bounds else f"{family.name}_total" for family in ALL}
    gauges: Any = {name for name, _ in shown(store_collector(Books()))}
    assert listed == counters | gauges | {"postroom_info"}
    used = set(re.findall(r"\b(?:postroom|http)_\w+_(?:total|seconds)\b", PAGE.read_text()))
    assert used <= listed
