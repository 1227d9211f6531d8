"""A column in SQLite may hold what does not belong there: the email is reported, left as it is, and harms no other."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from postroom.errors import StoreError
from postroom.mail.email import Email, Status
from postroom.store import unreadable
from postroom.store.sqlite import SqliteStore
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND, found

BLOB = b"\xff"
COUNTS = ["attempts", "crash_count", "max_attempts"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "store.sqlite3")) as store:
        yield store


def damage(store: SqliteStore, email: Email, **columns: bytes | str | None) -> None:
    """Puts these values in the row of the email, behind the store's back."""
    for column, value in columns.items():
        statement = f"UPDATE emails SET {column} = ? WHERE id = ?"
        store._writer.run(lambda connection, s=statement, v=(value, email.id): connection.execute(s, v).close())


def reported(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {vars(record)["email_id"] for record in caplog.records if record.getMessage() == "email unreadable"}


@pytest.mark.parametrize(
    "columns",
    [{"lease_worker": BLOB}, {"attempts": BLOB}, {"crash_count": BLOB}, {"lease_worker": BLOB, "lease_token": BLOB}],
    ids=["worker", "attempts", "crashes", "worker and token"],
)
def test_recover_brings_back_the_others_and_pauses(
    store: SqliteStore, caplog: pytest.LogCaptureFixture, columns: dict[str, bytes]
) -> None:
    now = store.clock()
    damaged, *sound = make.stored(store, now, *(make.email(now) for _ in range(3)))
    make.claimed(store, now, damaged, *sound)
    damage(store, damaged, **columns)
    now += LEASE
    assert store.recover(10, now=now, doubt_delay=SECOND) == 2
    assert [found(store, email).life.status for email in sound] == [Status.QUEUED, Status.QUEUED]
    assert reported(caplog) == {damaged.id}
    caplog.clear()
    assert store.recover(10, now=now + 59 * SECOND, doubt_delay=SECOND) == 0
    assert reported(caplog) == set()
    assert store.counts()[Status.SENDING] == 1


@pytest.mark.parametrize("column", COUNTS)
def test_expire_fails_the_others(store: SqliteStore, caplog: pytest.LogCaptureFixture, column: str) -> None:
    now = store.clock()
    damaged, sound = make.stored(store, now, *(make.email(now) for _ in range(2)))
    damage(store, damaged, **{column: BLOB})
    store.expire(10, now=now + 100 * HOUR)
    assert found(store, sound).life.status is Status.FAILED


@pytest.mark.parametrize("columns", [*({column: BLOB} for column in COUNTS), {"next_attempt_at": None}], ids=str)
def test_due_releases_the_others(store: SqliteStore, columns: dict[str, bytes | None]) -> None:
    now = store.clock()
    damaged, sound = make.stored(store, now, *(make.scheduled(now, now + SECOND) for _ in range(2)))
    damage(store, damaged, **columns)
    later = now + HOUR
    store.due(10, now=later, wake_up_again_at=later + HOUR)
    assert found(store, sound).life.status is Status.QUEUED


@pytest.mark.parametrize("column", ["crash_count", "max_attempts"])
def test_claim_brings_only_what_a_worker_can_count_with(
    store: SqliteStore, caplog: pytest.LogCaptureFixture, column: str
) -> None:
    now = store.clock()
    damaged, sound = make.stored(store, now, *(make.email(now) for _ in range(2)))
    damage(store, damaged, **{column: BLOB})
    claims = store.claim_due(10, worker="w1", now=now, lease=LEASE)
    assert [claim.email.id for claim in claims] == [sound.id]
    assert reported(caplog) == {damaged.id}


@pytest.mark.parametrize("column", COUNTS)
def test_who_asks_for_it_alone_is_told(store: SqliteStore, column: str) -> None:
    now = store.clock()
    email = make.one(store, now)
    damage(store, email, **{column: "many"})
    for ask in (lambda: store.get(ACCOUNT, email.id), lambda: store.cancel(ACCOUNT, email.id, now=now)):
        with pytest.raises(StoreError, match=f"email {email.id} is damaged in the store"):
            ask()


def test_email_without_bodies_is_reported_and_put_off(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    now = store.clock()
    damaged, sound = make.stored(store, now, *(make.email(now) for _ in range(2)))
    statement = "DELETE FROM bodies WHERE n = (SELECT n FROM emails WHERE id = ?)"
    store._writer.run(lambda connection: connection.execute(statement, (damaged.id,)).close())
    claims = store.claim_due(10, worker="w1", now=now, lease=LEASE)
    assert [claim.email.id for claim in claims] == [sound.id]
    assert reported(caplog) == {damaged.id}
    assert store.recover(10, now=now, doubt_delay=SECOND, everything=True) == 1
    assert store.counts()[Status.QUEUED] == 2


def test_deadline_behind_more_than_one_look_goes_through_is_found_by_the_next(store: SqliteStore) -> None:
    now = store.clock()
    *_, last = make.stored(store, now, *(make.email(now) for _ in range(unreadable.FURTHER + 20)))
    statement = "UPDATE emails SET crash_count = 'many' WHERE id <> ?"
    store._writer.run(lambda connection: connection.execute(statement, (last.id,)).close())
    later = now + 100 * HOUR
    assert [store.expire(1, now=later) for _ in range(2)] == [0, 1]
    assert found(store, last).life.status is Status.FAILED
