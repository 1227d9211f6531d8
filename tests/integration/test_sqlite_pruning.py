"""The SQLite store's pruning: what it deletes in one call, and what does not stop it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.mail.email import Status
from postroom.store.sqlite import SqliteStore
from tests import make
from tests.make import HOUR, SECOND


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def keys_in(path: Path) -> int:
    connection = sqlite3.connect(path)
    count: int = connection.execute("SELECT count(*) FROM idempotency").fetchone()[0]
    connection.close()
    return count


def test_all_expired_keys_are_deleted_however_few_emails_are(store: SqliteStore, path: Path) -> None:
    now = store.clock()
    keys = [make.idempotency_key(now + SECOND, key=f"key-{n}") for n in range(3000)]
    kept = make.idempotency_key(now + 2 * HOUR, key="kept")
    store.add([make.submission(key=key) for key in (*keys, kept)], now=now, wake_up_at=now)
    assert store.prune(1000, now=now + HOUR, finished_before=now) == 0
    assert keys_in(path) == 1


def test_emails_that_cannot_be_read_do_not_keep_others_from_being_deleted(
    store: SqliteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    life = make.new_life(now, status=Status.SUPPRESSED, next_attempt_at=None)
    make.stored(store, now, *(make.email(now, life=life) for _ in range(25)))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("UPDATE emails SET recipients = 'no JSON'")
    other.close()
    make.stored(store, now + SECOND, *(make.email(now, life=life) for _ in range(25)))
    assert store.prune(20, now=now, finished_before=now + HOUR) == 20
    assert store.prune(20, now=now, finished_before=now + HOUR) == 5
    assert sum(store.counts().values()) == 25
    assert "email unreadable" in caplog.text
