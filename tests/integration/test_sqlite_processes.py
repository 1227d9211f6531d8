"""The SQLite store among processes: one owner at a time, and kill -9 loses nothing that was acknowledged."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postroom.errors import StoreLocked
from postroom.mail.email import Status
from postroom.store.sqlite import SqliteStore
from tests.make import ACCOUNT, HOUR, SECOND

KILLS = 5
ROOT = Path(__file__).parents[2]


@contextmanager
def child(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that writes to the store; killed with SIGKILL at the end."""
    command = [sys.executable, "-m", "tests.integration.sqlite_child", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def acknowledged(path: Path, at_least: int) -> list[list[str]]:
    """What a child said until it was killed in the middle of its work."""
    with child(path) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(at_least)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    return [line.split() for line in lines if line.endswith("\n")]


def test_second_process_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    with child(path) as process, pytest.raises(StoreLocked, match=rf"{path}.* {process.pid}\b"):
        SqliteStore(path)


def test_second_store_of_one_process_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    first = SqliteStore(path)
    link = tmp_path / "other name"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(StoreLocked):
            SqliteStore(name)
    first.close()
    SqliteStore(path).close()


def test_kill_9_in_the_middle_of_writing_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    added: set[str] = set()
    sent: set[str] = set()
    for kill in range(KILLS):
        lines = acknowledged(path, at_least=50 + 40 * kill)
        added |= {email_id for what, email_id in lines if what == "added"}
        sent |= {email_id for what, email_id in lines if what == "sent"}
        store = SqliteStore(path)
        while store.recover(1000, now=store.clock(), doubt_delay=SECOND, everything=True):
            pass
        assert all(store.get(ACCOUNT, email_id) for email_id in added)
        assert all(found.life.status is Status.SENT for i in sent if (found := store.get(ACCOUNT, i)))
        counts = store.counts()
        assert counts[Status.SENDING] == 0
        assert counts[Status.SENT] >= len(sent)
        assert sum(counts.values()) >= len(added)
        store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert sent


def test_fenced_emails_of_a_killed_process_are_flagged_and_the_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    acknowledged(path, at_least=50)
    store = SqliteStore(path)
    now = store.clock()
    store.recover(10_000, now=now, doubt_delay=60 * SECOND, everything=True)
    again = store.claim_due(10_000, worker="w", now=now + HOUR, lease=SECOND)
    for claim in again:
        life = claim.email.life
        doubted = any(event.event == "outcome_unknown" for event in life.timeline)
        assert life.possible_duplicate is doubted
        assert not doubted or life.next_attempt_at == now + 60 * SECOND
    assert any(claim.email.life.possible_duplicate for claim in again)
    store.close()
