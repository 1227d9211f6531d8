"""The SQLite store and its file: whatever is wrong with it is said in one sentence, and never as a sqlite3 error."""

import re
import sqlite3
from pathlib import Path

import pytest

from postroom.errors import StoreError, StoreUnavailable
from postroom.store.base import Query
from postroom.store.sqlite import SqliteStore, filesystem, schema
from tests import make
from tests.make import ACCOUNT, LEASE

ONE_PROCESS = Path(__file__).parents[2] / "docs" / "one-process.md"
FULL = 2  # an fsync for each commit; https://sqlite.org/pragma.html#pragma_synchronous
MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /srv/mail nfs4 rw 0 0
//nas/share /srv/my\\040share cifs rw 0 0
tmpfs /srv/mail/local tmpfs rw 0 0
host /hidden 9p rw 0 0
/dev/sdb1 /hidden xfs rw 0 0
"""


def refused(path: Path) -> str:
    """The sentence with which the store refuses this file."""
    with pytest.raises(StoreError) as caught:
        SqliteStore(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def filled(path: Path, emails: int = 200) -> list[str]:
    """A closed store with some emails; their ids."""
    store = SqliteStore(path)
    now = store.clock()
    ids = [email.id for email in make.stored(store, now, *(make.email(now, text="x" * 500) for _ in range(emails)))]
    store.close()
    return ids


def test_missing_directories_and_file_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "store with space.sqlite3"
    ids = filled(path, 1)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    store = SqliteStore(path)
    assert store.get(ACCOUNT, ids[0])
    log = path.with_name(path.name + "-wal")
    assert log.stat().st_mode & 0o077 == 0
    store.close()


def test_commits_are_on_disk_when_they_return_and_readers_do_not_wait_for_them(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite3")
    asked = ("journal_mode", "synchronous")
    told = store._writer.run(lambda writing: [writing.execute(f"PRAGMA {one}").fetchone()[0] for one in asked])
    assert told == ["wal", FULL]
    store.close()


def test_clean_close_leaves_one_file_and_the_lock(tmp_path: Path) -> None:
    filled(tmp_path / "store.sqlite3")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.sqlite3", "store.sqlite3.lock"]


def test_directory_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be used" in refused(tmp_path / "file" / "store.sqlite3")


def test_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be used" in refused(tmp_path)


def test_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    path.write_text("a letter to grandmother\n" * 100)
    assert "not an SQLite database" in refused(path)
    assert path.read_text().startswith("a letter")


def test_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    assert "another program" in refused(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("recipes",)]
    connection.close()


def test_file_of_a_newer_postroom_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    filled(path, 1)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    connection.close()
    assert "newer" in refused(path)


def test_refused_file_is_not_kept_locked(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    path.write_text("no database" * 1000)
    refused(path)
    path.unlink()
    SqliteStore(path).close()


def test_damaged_pages_are_reported_by_every_method_that_meets_them(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    ids = filled(path)
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(4096)  # the first page, with the layout, stays whole
        file.write(b"\xa5" * (size - 4096))
    store = SqliteStore(path)
    now = store.clock()
    for damaged in (
        lambda: store.get(ACCOUNT, ids[0]),
        lambda: store.list(Query(account=ACCOUNT, limit=10)),
        lambda: store.claim(ids, worker="w", now=now, lease=LEASE),
        lambda: store.claim_due(10, worker="w", now=now, lease=LEASE),
        lambda: make.stored(store, now, make.email(now)),
        store.counts,
    ):
        with pytest.raises(StoreUnavailable, match=r"damaged"):
            damaged()
    store.close()


def test_file_locked_by_another_program_is_unavailable_and_recovers(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    store = SqliteStore(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another program"):
        store.ping()
    other.execute("ROLLBACK")
    other.close()
    store.ping()
    store.close()


def test_ping_notices_that_the_file_was_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    store = SqliteStore(path)
    store.ping()
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="moved"):
        store.ping()
    (tmp_path / "elsewhere").rename(path)
    store.ping()
    store.close()


def test_what_no_reader_can_be_opened_for_is_claimed_all_the_same(tmp_path: Path) -> None:
    path, away = tmp_path / "store.sqlite3", tmp_path / "away.sqlite3"
    store = SqliteStore(path)
    now = store.clock()
    [email] = make.stored(store, now, make.email(now))
    path.rename(away)
    with pytest.raises(StoreUnavailable):
        store.get(ACCOUNT, email.id)
    claims = store.claim_due(1, worker="w", now=now, lease=LEASE)
    away.rename(path)
    assert [claim.email for claim in claims] == [store.get(ACCOUNT, email.id)]
    store.close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/store", "ext4"),
        ("/srv/mail/store", "nfs4"),
        ("/srv/mailbox/store", "ext4"),
        ("/srv/my share/store", "cifs"),
        ("/srv/mail/local/store", "tmpfs"),
        ("/hidden/store", "xfs"),
    ],
)
def test_file_system_of_a_path_is_that_of_its_deepest_mount(path: str, kind: str) -> None:
    assert filesystem.kind_of(Path(path), MOUNTS) == kind


def test_network_file_system_is_refused_unless_asked_for(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/export {tmp_path} nfs rw 0 0\n")
    path = tmp_path / "store.sqlite3"
    with pytest.raises(StoreUnavailable, match="network file system"):
        filesystem.prepare(path, network_too=False, mounts=mounts)
    assert not path.exists()
    filesystem.prepare(path, network_too=True, mounts=mounts)
    assert path.exists()


def test_documented_backup_holds_what_was_accepted_and_ends_beside_writes(tmp_path: Path) -> None:
    [sql] = re.findall(r'^sqlite3 \S+ "(.*)"', ONE_PROCESS.read_text(), re.MULTILINE)
    store, copy = SqliteStore(tmp_path / "store.sqlite3"), tmp_path / "copy.sqlite3"
    now = store.clock()
    stored = make.stored(store, now, *(make.email(now) for _ in range(20)))
    other = sqlite3.connect(tmp_path / "store.sqlite3", isolation_level=None)
    other.set_progress_handler(lambda: store.ping(), 1000)
    other.execute(re.sub("'.*'", f"'{copy}'", sql))
    other.close()
    store.close()
    restored = SqliteStore(copy)
    assert [restored.get(ACCOUNT, email.id) for email in stored] == stored
    restored.close()
