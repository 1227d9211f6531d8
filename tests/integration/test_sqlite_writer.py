"""The one writer of the SQLite store: groups, neighbours that fail, callers that wait too long."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from postroom.errors import OutcomeUnknown, StoreError, StoreUnavailable
from postroom.store.sqlite import schema
from postroom.store.sqlite.writer import GROUP_LIMIT, Writer

Operation = Callable[[sqlite3.Connection], object]


class Bench:
    """A writer that can be held up, so that what is submitted meanwhile forms one group."""

    def __init__(self, path: Path, *, patience_seconds: float = 10) -> None:
        path.touch()
        self.path = path
        self.statements: list[str] = []
        self.connection = schema.open_writer(path)
        self.connection.execute("CREATE TABLE lines (line TEXT UNIQUE)")
        self.connection.set_trace_callback(self.statements.append)
        self.writer = Writer(self.connection, path, patience_seconds=patience_seconds)
        self.pool = ThreadPoolExecutor(GROUP_LIMIT + 2)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def hold(self) -> "Future[object]":
        """Keeps the writer busy until `go_on` is set."""

        def wait(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT INTO lines VALUES ('held')")
            self.begun.set()
            assert self.go_on.wait(20)
            return "held"

        future = self.pool.submit(self.writer.run, wait)
        assert self.begun.wait(20)
        return future

    def submit(self, *operations: Operation) -> "list[Future[object]]":
        """Hands over operations in this order, each from a thread of its own."""
        futures = []
        for operation in operations:
            waiting = self.writer._waiting.qsize()
            futures.append(self.pool.submit(self.writer.run, operation))
            until(lambda waiting=waiting: self.writer._waiting.qsize() > waiting)
        return futures

    def lines(self) -> list[str]:
        """What is in the file, as another connection sees it."""
        connection = schema.open_reader(self.path)
        found = [line for (line,) in connection.execute("SELECT line FROM lines ORDER BY rowid")]
        connection.close()
        return found

    def close(self) -> None:
        self.go_on.set()
        self.pool.shutdown()
        self.writer.close()


def until(happened: Callable[[], bool]) -> None:
    """Waits for something that other threads do."""
    never = threading.Event()
    for _ in range(20_000):
        if happened():
            return
        never.wait(0.001)
    raise AssertionError("did not happen in 20 seconds")


def insert(line: str) -> Operation:
    return lambda connection: connection.execute("INSERT INTO lines VALUES (?)", (line,)).rowcount


def fail(line: str) -> Operation:
    def operation(connection: sqlite3.Connection) -> object:
        insert(line)(connection)
        raise ValueError(line)

    return operation


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "store.sqlite3")
    yield made
    made.close()


def test_writes_that_wait_share_one_commit(bench: Bench) -> None:
    held = bench.hold()
    futures = bench.submit(*(insert(str(i)) for i in range(20)))
    bench.go_on.set()
    assert held.result(20) == "held"
    assert [future.result(20) for future in futures] == [1] * 20
    assert bench.lines() == ["held", *map(str, range(20))]
    assert bench.statements.count("COMMIT") == 2


def test_failing_write_does_not_harm_its_neighbours(bench: Bench) -> None:
    bench.hold()
    first, failing, twice, last = bench.submit(insert("a"), fail("b"), insert("a"), insert("c"))
    bench.go_on.set()
    assert (first.result(20), last.result(20)) == (1, 1)
    with pytest.raises(ValueError, match="b"):
        failing.result(20)
    with pytest.raises(StoreError, match="rules"):
        twice.result(20)
    assert bench.lines() == ["held", "a", "c"]


def test_lone_failing_write_leaves_nothing_behind(bench: Bench) -> None:
    with pytest.raises(ValueError, match="b"):
        bench.writer.run(fail("b"))
    assert bench.lines() == []
    assert bench.writer.run(insert("c")) == 1


def test_failed_commit_refuses_the_whole_group_and_the_next_one_goes_through(bench: Bench) -> None:
    def break_commit(connection: sqlite3.Connection) -> object:
        connection.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE children (of INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
        return connection.execute("INSERT INTO children VALUES (1)").rowcount

    bench.connection.execute("PRAGMA foreign_keys = ON")
    bench.hold()
    group = bench.submit(insert("a"), break_commit, insert("b"))
    bench.go_on.set()
    for future in group:
        with pytest.raises(StoreError):
            future.result(20)
    assert bench.lines() == ["held"]
    assert bench.writer.run(insert("c")) == 1


def test_write_that_was_not_begun_in_time_never_happens(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "store.sqlite3", patience_seconds=0.2)
    held = bench.hold()
    [late] = bench.submit(insert("late"))
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        late.result(20)
    with pytest.raises(OutcomeUnknown):
        held.result(20)
    bench.close()
    assert bench.lines() == ["held"]


def test_close_finishes_what_waits_and_refuses_what_comes_later(bench: Bench) -> None:
    bench.hold()
    futures = bench.submit(insert("a"), insert("b"))
    closing = bench.pool.submit(bench.writer.close)
    until(lambda: bench.writer._closed)
    with pytest.raises(StoreUnavailable, match="closed"):
        bench.writer.run(insert("c"))
    bench.go_on.set()
    closing.result(20)
    assert [future.result(20) for future in futures] == [1, 1]
    assert bench.lines() == ["held", "a", "b"]


def test_group_has_a_limit(bench: Bench) -> None:
    bench.hold()
    futures = bench.submit(*(insert(str(i)) for i in range(GROUP_LIMIT + 1)))
    bench.go_on.set()
    assert [future.result(20) for future in futures] == [1] * (GROUP_LIMIT + 1)
    assert bench.statements.count("COMMIT") == 3
