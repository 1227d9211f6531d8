"""MongoStore under fork, in several processes, and its clock."""

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect

from postroom.mail.email import Status
from postroom.store.base import Added, KeyReused, Submission
from postroom.store.mongo import MongoStore
from postroom.store.mongo.clock import AskingClock
from tests import make
from tests.make import HOUR, LEASE, SECOND

FORKING = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def store(mongodb_url: str) -> Iterator[MongoStore]:
    store = MongoStore(mongodb_url)
    yield store
    store.close()


def forked(work: Callable[[], None]) -> int:
    """Forks a child that does the work and ends like a pool's child; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        warnings.simplefilter("error")
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def exit_code(pid: int) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


@FORKING
def test_children_of_a_process_that_uses_the_store_use_it_too(store: MongoStore) -> None:
    now = store.clock()
    make.stored(store, now, *(make.email(now) for _ in range(40)))

    def send_ten() -> None:
        assert store.clock() >= now
        left, deadline = 10, time.monotonic() + 20
        while left and time.monotonic() < deadline:
            claims = store.claim_due(left, worker=f"child {os.getpid()}", now=now, lease=LEASE)
            assert len(store.settle([make.sent(claim, now) for claim in claims], now=now)) == len(claims)
            left -= len(claims)
        store.close()

    children = [forked(send_ten) for _ in range(3)]
    make.stored(store, now, *(make.email(now) for _ in range(5)))
    assert [exit_code(pid) for pid in children] == [0, 0, 0]
    counts = store.counts()
    assert (counts[Status.SENT], counts[Status.QUEUED]) == (30, 15)


def add_one(store: MongoStore) -> None:
    make.stored(store, store.clock(), make.email())


@FORKING
def test_nothing_is_opened_before_the_first_call(mongodb_url: str) -> None:
    before = set(threading.enumerate())
    store = MongoStore(mongodb_url)
    assert exit_code(forked(lambda: add_one(store))) == 0
    assert set(threading.enumerate()) <= before
    assert store.backlog() == 1
    store.close()


def test_two_stores_keep_each_others_keys_and_claims(mongodb_url: str, store: MongoStore) -> None:
    other = MongoStore(mongodb_url)
    now = store.clock()
    keyed = [make.submission(key=make.idempotency_key(now + HOUR), answer=name) for name in ("one", "other")]
    start = Barrier(2)

    def add(which: MongoStore, submission: Submission) -> Added | KeyReused:
        start.wait(10)
        return which.add([submission], now=now, wake_up_at=now)[0]

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(add, (store, other), keyed)
    assert isinstance(one, Added)
    assert isinstance(two, Added)
    assert (one.answer, one.replayed) in {(two.answer, True), (two.answer, False)}
    assert one.replayed is not two.replayed
    assert sum(store.counts().values()) == 1
    other.close()


class Server:
    """A server's clock, and how often it was looked at."""

    def __init__(self) -> None:
        self.time, self.looks, self.down = datetime(2026, 5, 1, tzinfo=UTC), 0, False
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> datetime:
        self.looks += 1
        self.gate.wait(10)
        if self.down:
            raise AutoReconnect
        return self.time


class StoppedWhileAsking:
    """A server whose answers reach a process that is stopped for a while, before it has asked or after."""

    def __init__(self, *, before: float, after: float) -> None:
        self.before, self.after = before, after
        self.monotonic = 1000.0
        self.looks = 0

    @property
    def time(self) -> datetime:
        """The server's time; it began at 0."""
        return datetime(2026, 5, 1, tzinfo=UTC) + self.monotonic * SECOND

    def __call__(self) -> datetime:
        stopped = self.looks == 1
        self.monotonic += self.before if stopped else 0
        time = self.time
        self.monotonic += self.after if stopped else 0
        self.looks += 1
        return time


def soon(condition: Callable[[], bool]) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_clock_is_the_servers_and_is_seldom_looked_at() -> None:
    server = Server()
    clock = AskingClock(server, sync_seconds=60)
    times = [clock() for _ in range(100)]
    assert server.looks == 1
    assert times == sorted(times)
    assert times[-1] - server.time < SECOND
    assert not times[0].microsecond % 1000


def test_clock_never_goes_back_when_the_servers_does() -> None:
    server = Server()
    clock = AskingClock(server, sync_seconds=0)
    first = clock()
    server.time -= HOUR
    assert clock() >= first
    server.time += 2 * HOUR
    soon(lambda: clock() - first >= HOUR)


def test_claims_lapse_by_the_clock_as_it_was_set_back() -> None:
    server = Server()
    clock = AskingClock(server, sync_seconds=0)
    first = clock()
    assert clock.as_set() - first < SECOND
    server.time -= HOUR
    soon(lambda: clock.as_set() - first < -HOUR + SECOND)
    assert clock() >= first


def test_clock_goes_on_without_the_server_once_it_was_reached() -> None:
    server = Server()
    server.down = True
    clock = AskingClock(server, sync_seconds=0)
    with pytest.raises(AutoReconnect):
        clock()
    server.down = False
    first = clock()
    server.down = True
    assert clock() >= first


def test_clock_that_was_told_waits_for_nobody() -> None:
    server = Server()
    clock = AskingClock(server, sync_seconds=0)
    first = clock()
    server.gate.clear()
    assert clock() >= first
    looks = server.looks
    assert clock() >= first
    soon(lambda: server.looks > 1)
    assert server.looks <= looks + 1, "it looks while it is looking"
    server.gate.set()
    server.time += HOUR
    soon(lambda: clock() - first >= HOUR)


@pytest.mark.parametrize(("before", "after"), [(60, 0), (0, 60)])
def test_clock_of_a_process_that_was_stopped_while_it_asked_stays_right(before: float, after: float) -> None:
    server = StoppedWhileAsking(before=before, after=after)
    clock = AskingClock(server, sync_seconds=10, monotonic=lambda: server.monotonic)
    assert clock() == server.time
    server.monotonic += 20
    clock()
    soon(lambda: server.looks == 2)  # the answer to this one came late
    soon(lambda: clock() == server.time and server.looks == 3)


def test_clock_is_as_exact_as_leases_need(store: MongoStore, mongodb_url: str) -> None:
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        before, ours, after = (
            client.admin.command("hello")["localTime"].replace(tzinfo=UTC),
            store.clock(),
            client.admin.command("hello")["localTime"].replace(tzinfo=UTC),
        )
    assert before - SECOND / 10 <= ours <= after + SECOND / 10
