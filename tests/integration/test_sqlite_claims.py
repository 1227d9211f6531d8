"""Claims on SQLite that do not reach their caller: the emails are what they were before, and no crash is counted."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroom.errors import OutcomeUnknown, StoreError
from postroom.mail.email import Email
from postroom.store.base import Claim, Store
from postroom.store.sqlite import SqliteStore
from tests import make
from tests.make import HOUR, LEASE, SECOND

IMPATIENT = timedelta(milliseconds=100)
Claiming = Callable[[Store, list[str], datetime], list[Claim]]


def by_name(store: Store, ids: list[str], now: datetime) -> list[Claim]:
    return store.claim(ids, worker="w1", now=now, lease=LEASE)


def whatever_is_due(store: Store, ids: list[str], now: datetime) -> list[Claim]:
    return store.claim_due(len(ids), worker="w1", now=now, lease=LEASE)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Meanwhile whatever the store has begun to write takes too long: it waits for this lock, for up to two seconds."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Meanwhile emails can be claimed and not read."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("ALTER TABLE bodies RENAME TO elsewhere")
    try:
        yield
    finally:
        connection.execute("ALTER TABLE elsewhere RENAME TO bodies")
        connection.close()


def rows(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT * FROM emails ORDER BY n").fetchall()
    connection.close()
    return found


def emails_of_every_kind(store: Store, now: datetime) -> list[Email]:
    """Emails that are due an hour later: queued, scheduled, retrying, and one that lapsed after its fence."""
    due = now + HOUR
    queued, tried, lapsed = make.stored(store, now, *(make.email(now) for _ in range(3)))
    [scheduled] = make.stored(store, now, make.scheduled(now, due))
    first, second = make.claimed(store, now, tried, lapsed)
    assert store.settle([make.retrying(first, now, due)], now=now)
    assert store.fence({lapsed.id: second.token}, now=now, lease=LEASE)
    assert store.recover(10, now=now + LEASE, doubt_delay=SECOND) == 1
    return [queued, tried, lapsed, scheduled]


@pytest.mark.parametrize("claim", [by_name, whatever_is_due])
def test_claim_in_doubt_is_given_back(tmp_path: Path, claim: Claiming) -> None:
    path = tmp_path / "store.sqlite3"
    store = SqliteStore(path)
    now = store.clock()
    ids = [email.id for email in emails_of_every_kind(store, now)]
    store.close()
    before = rows(path)
    store = SqliteStore(path, patience=IMPATIENT)
    with locked(path), pytest.raises(OutcomeUnknown):
        claim(store, ids, now + HOUR)
    store.close()  # finishes what was begun, and what was to follow it
    assert rows(path) == before


@pytest.mark.parametrize("claim", [by_name, whatever_is_due])
def test_claim_that_cannot_be_read_is_given_back(tmp_path: Path, claim: Claiming) -> None:
    path = tmp_path / "store.sqlite3"
    store = SqliteStore(path)
    now = store.clock()
    ids = [email.id for email in emails_of_every_kind(store, now)]
    before = rows(path)
    with unreadable(path), pytest.raises(StoreError):
        claim(store, ids, now + HOUR)
    assert store.recover(10, now=now + 2 * HOUR, doubt_delay=SECOND) == 0
    assert rows(path) == before
    assert {c.email.id for c in claim(store, ids, now + HOUR)} == set(ids)
    store.close()
