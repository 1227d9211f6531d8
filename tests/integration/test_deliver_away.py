"""A turn while the store is away: it asks no more than it must, and does not misreport what was written."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from postroom.errors import OutcomeUnknown, StoreUnavailable
from postroom.mail.email import Status
from postroom.store.base import Settlement
from postroom.store.sqlite import SqliteStore
from postroom.transport.simulated import SimulatedTransport
from tests import make
from tests.turns import turn

COUNT = 100


class Away(SqliteStore):
    """A store that goes away once emails are claimed, and counts what it is asked from then on."""

    asked = 0

    def attachments(self, email_id: str) -> list[bytes]:
        self.asked += 1
        raise StoreUnavailable("away")

    def settle(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        self.asked += 1
        raise StoreUnavailable("away")


class Short(SqliteStore):
    """A store that fails once to bring attachments into the memory of its process."""

    error: Exception | None = None

    def attachments(self, email_id: str) -> list[bytes]:
        if self.error:
            error, self.error = self.error, None
            raise error
        return super().attachments(email_id)


class Forgetful(SqliteStore):
    """A store that writes the first settlement and does not say so."""

    forgets = True

    def settle(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        written = super().settle(settlements, now=now)
        if self.forgets:
            self.forgets = False
            raise OutcomeUnknown("the answer was lost")
        return written


@pytest.fixture
def instant() -> Iterator[SimulatedTransport]:
    transport = SimulatedTransport(min_seconds=0, max_seconds=0, capacity=COUNT)
    yield transport
    transport.close()


def test_turn_composes_no_more_while_the_store_is_away(tmp_path: Path, instant: SimulatedTransport) -> None:
    store = Away(tmp_path / "store.sqlite3")
    now = store.clock()
    emails = [make.email(now, attachments=(make.attachment(b"content"),)) for _ in range(COUNT)]
    make.stored(store, now, *emails)
    turn(store, instant, *(email.id for email in emails), stopping=lambda: store.asked > 0, stop_limit=make.SECOND)
    assert store.asked < 10
    store.close()


def test_settlement_whose_answer_was_lost_is_not_told_as_lapsed(
    tmp_path: Path, instant: SimulatedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    store = Forgetful(tmp_path / "store.sqlite3")
    now = store.clock()
    [email] = make.stored(store, now, make.email(now))
    with caplog.at_level(logging.WARNING):
        turn(store, instant, email.id)
    found = store.get(make.ACCOUNT, email.id)
    assert found
    assert (found.life.status, found.life.possible_duplicate) == (Status.SENT, False)
    assert [record.message for record in caplog.records] == ["store unavailable"]
    store.close()


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files")])
def test_worker_that_lacks_memory_or_files_hands_the_email_back(
    tmp_path: Path, instant: SimulatedTransport, error: Exception
) -> None:
    store = Short(tmp_path / "store.sqlite3")
    email = make.one(store, attachments=(make.attachment(b"content"),))
    store.error = error
    began = store.clock()
    turn(store, instant, email.id)
    life = make.found(store, email).life
    assert (life.status, life.attempts, life.crash_count) == (Status.QUEUED, 0, 0)
    assert life.next_attempt_at
    assert life.next_attempt_at >= began + make.SECOND
    [claim] = make.claimed(store, life.next_attempt_at, email)
    assert store.attachments(claim.email.id) == [b"content"]
    store.close()
