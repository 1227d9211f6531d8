"""The SQLite store while memory is short: SQLite reports SQLITE_NOMEM, which Python makes a `MemoryError` of."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.errors import OutcomeUnknown, StoreUnavailable
from postroom.store.sqlite import schema
from postroom.store.sqlite.readers import Readers
from postroom.store.sqlite.writer import Writer


class Short(sqlite3.Connection):
    """A connection that has no memory left once it has committed."""

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        cursor = super().execute(sql, *values)
        if sql == "COMMIT":
            raise MemoryError
        return cursor


def no_memory(connection: sqlite3.Connection) -> object:
    """An operation that writes, and then gets SQLITE_NOMEM."""

    def fail() -> None:
        raise MemoryError

    connection.create_function("fail", 0, fail)
    return connection.execute("SELECT fail()").fetchone()


def pulse(connection: sqlite3.Connection) -> int:
    return connection.execute("INSERT OR REPLACE INTO pulse (n, at) VALUES (1, 7)").rowcount


def pulses(connection: sqlite3.Connection) -> list[int]:
    return [at for (at,) in connection.execute("SELECT at FROM pulse")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty store."""
    path = tmp_path / "store.sqlite3"
    path.touch()
    schema.open_writer(path).close()
    return path


@pytest.fixture
def readers(path: Path) -> Iterator[Readers]:
    made = Readers(path)
    yield made
    made.close()


def test_write_without_memory_is_not_done_and_may_be_repeated(path: Path, readers: Readers) -> None:
    writer = Writer(schema.open_writer(path), path, patience_seconds=10)
    with pytest.raises(StoreUnavailable, match="no memory"):
        writer.run(lambda connection: (pulse(connection), no_memory(connection)))
    assert readers.run(pulses) == []
    assert writer.run(pulse) == 1
    assert readers.run(pulses) == [7]
    writer.close()


def test_question_without_memory_may_be_asked_again(readers: Readers) -> None:
    with pytest.raises(StoreUnavailable, match="no memory"):
        readers.run(no_memory)
    assert readers.run(pulses) == []


def test_commit_without_memory_is_in_doubt(path: Path, readers: Readers) -> None:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Short)
    writer = Writer(connection, path, patience_seconds=10)
    with pytest.raises(OutcomeUnknown, match="no memory"):
        writer.run(pulse)
    assert readers.run(pulses) == [7]
    writer.close()
