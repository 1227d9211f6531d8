"""The SQLite store on a full or failing disk: what was acknowledged stays, nothing is half done, and it recovers."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postroom.errors import OutcomeUnknown, StoreFull, StoreUnavailable
from postroom.mail.email import Email, Status
from postroom.store.base import Store
from postroom.store.sqlite import SqliteStore
from tests import make
from tests.make import ACCOUNT, HOUR, SECOND
from tests.servers.disk import disk_of

DISK_BYTES = 4 * 1024 * 1024
LARGE_DISK_BYTES = 64 * 1024 * 1024
RESERVE_BYTES = 32 * 1024 * 1024
LOG_BYTES = 24 * 1024 * 1024
CONTENT_BYTES = 17 * 1024 * 1024  # more pages than the first part of the log's index has room for
MOST = 1000  # emails that no test disk has room for


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for little."""
    with disk_of(DISK_BYTES, tmp_path / "disk") as disk:
        yield disk


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writes of this process beyond that size fail (EFBIG), as on a disk with an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(store: Store, text: str = "x" * 20_000) -> tuple[list[Email], Email]:
    """Adds emails until the store refuses one; returns those it acknowledged and the refused one."""
    stored: list[Email] = []
    for _ in range(MOST):
        email = make.email(store.clock(), text=text)
        try:
            make.stored(store, store.clock(), email)
        except StoreUnavailable:
            return stored, email
        stored.append(email)
    raise AssertionError(f"{MOST} emails were stored and none refused")


def check(store: Store, stored: list[Email], refused: Email) -> None:
    """All that was acknowledged is there and whole, nothing else."""
    assert all(store.get(ACCOUNT, email.id) == email for email in stored)
    assert store.get(ACCOUNT, refused.id) is None
    assert sum(store.counts().values()) == len(stored)


def test_full_disk_refuses_whole_and_keeps_what_it_has(small_disk: Path) -> None:
    path = small_disk / "store.sqlite3"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(DISK_BYTES // 4))
    store = SqliteStore(path, reserve_bytes=0)
    stored, refused = fill(store)
    assert stored
    with pytest.raises(StoreFull, match=r"store\.sqlite3 is full"):
        make.stored(store, store.clock(), refused)
    check(store, stored, refused)
    ballast.unlink()
    make.stored(store, store.clock(), refused)
    check(store, [*stored, refused], make.email(store.clock()))
    store.close()


def test_store_filled_to_the_last_byte_opens_again_when_there_is_room(small_disk: Path) -> None:
    path = small_disk / "store.sqlite3"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(DISK_BYTES // 4))
    store = SqliteStore(path, reserve_bytes=0)
    stored, refused = fill(store)
    store.close()
    ballast.unlink()
    store = SqliteStore(path, reserve_bytes=0)
    check(store, stored, refused)
    store.close()


def test_store_cannot_be_made_on_a_full_disk(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(bytes(2 * DISK_BYTES))
    with pytest.raises(StoreFull):
        SqliteStore(small_disk / "store.sqlite3")


def test_reserve_refuses_submissions_and_lets_accepted_emails_finish(small_disk: Path) -> None:
    store = SqliteStore(small_disk / "store.sqlite3", reserve_bytes=DISK_BYTES // 3)
    stored, refused = fill(store)
    assert stored
    with pytest.raises(StoreFull, match="kept to finish accepted emails"):
        make.stored(store, store.clock(), refused)
    with pytest.raises(StoreFull, match="kept to finish accepted emails"):
        store.ping()
    now = store.clock()
    claims = store.claim_due(MOST, worker="w", now=now, lease=HOUR)
    assert len(claims) == len(stored)
    assert len(store.fence({c.email.id: c.token for c in claims}, now=now, lease=HOUR)) == len(stored)
    assert len(store.settle([make.sent(claim, now) for claim in claims], now=now)) == len(stored)
    assert store.counts()[Status.SENT] == len(stored)
    assert store.prune(MOST, now=now + SECOND, finished_before=now + SECOND) == len(stored)
    store.close()


def test_deleted_emails_make_room_for_others_on_a_full_disk(tmp_path: Path) -> None:
    with disk_of(RESERVE_BYTES + LARGE_DISK_BYTES, tmp_path / "disk") as disk:
        store = SqliteStore(disk / "store.sqlite3", reserve_bytes=RESERVE_BYTES)
        stored, refused = fill(store, text="x" * 200_000)
        for email in stored:
            store.cancel(ACCOUNT, email.id, now=store.clock())
        with pytest.raises(StoreFull, match="kept to finish accepted emails"):
            make.stored(store, store.clock(), refused)
        later = store.clock() + SECOND
        assert store.prune(MOST, now=later, finished_before=later) == len(stored)
        again, _ = fill(store, text="x" * 200_000)
        assert len(again) > len(stored) / 2
        store.close()


def test_failing_disk_leaves_a_submission_in_doubt_and_recovers(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite3")
    [before] = make.stored(store, store.clock(), make.email(store.clock()))
    log = tmp_path / "store.sqlite3-wal"
    refused = make.email(store.clock(), text="x" * 100_000)
    with largest_file(log.stat().st_size + 8192), pytest.raises(OutcomeUnknown):
        make.stored(store, store.clock(), refused)
    check(store, [before], refused)
    make.stored(store, store.clock(), refused)
    check(store, [before, refused], make.email(store.clock()))
    store.close()


def test_commit_that_fails_once_it_is_in_the_log_is_in_doubt(tmp_path: Path) -> None:
    with disk_of(LARGE_DISK_BYTES, tmp_path / "disk") as disk:
        path, ballast = disk / "store.sqlite3", disk / "ballast"
        SqliteStore(path, reserve_bytes=0).close()
        (disk / "store.sqlite3-wal").write_bytes(bytes(LOG_BYTES))  # has its room already; the log's index has to grow
        store = SqliteStore(path, reserve_bytes=0)
        [before] = make.stored(store, store.clock(), make.email(store.clock()))
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(LARGE_DISK_BYTES))
        doubtful = make.email(store.clock(), attachments=(make.attachment(bytes(CONTENT_BYTES)),))
        with pytest.raises(OutcomeUnknown):
            make.stored(store, store.clock(), doubtful)
        check(store, [before], doubtful)
        after_crash = SqliteStore(copied(path, tmp_path / "copy"))
        assert sum(after_crash.counts().values()) == 2
        assert after_crash.attachments(doubtful.id) == [bytes(CONTENT_BYTES)]
        after_crash.close()
        ballast.unlink()
        [again] = make.stored(store, store.clock(), make.email(store.clock()))
        check(store, [before, again], doubtful)
        store.close()


def copied(path: Path, folder: Path) -> Path:
    """A store's file and log, as a process that is killed now leaves them."""
    folder.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(path.with_name(name), folder)
    return folder / path.name
