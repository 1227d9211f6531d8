"""An email that breaks whoever takes it is failed in the end, and takes no other with it."""

from collections.abc import Generator, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroom.mail.email import Email, Status
from postroom.mail.outcome import HandOff, Outcome, Phase, Verdict
from postroom.store.sqlite import SqliteStore
from postroom.transport.base import Fence, Take
from tests import make
from tests.turns import turn

POISON = "poison"
ROUNDS = 200


class Crash(BaseException):
    """The process is gone, in the middle of everything."""


class Fragile:
    """A transport that takes ten at once and crashes when the poison is among them."""

    relay = "fragile"
    capacity = 10

    def send(self, take: Take, *, fence: Fence) -> Generator[Sequence[HandOff], None, None]:
        while taken := take(self.capacity):
            if any(POISON.encode() in envelope.data for envelope in taken):
                raise Crash
            passed = fence([envelope.email_id for envelope in taken])
            assert len(passed) == len(taken)
            accepted = {"verdict": Verdict.ACCEPTED, "phase": Phase.DOT, "message": ""}
            yield [
                HandOff(
                    email_id=envelope.email_id,
                    relay=self.relay,
                    seconds=0.1,
                    outcomes=[Outcome(recipient=recipient, **accepted) for recipient in envelope.rcpt_to],  # type: ignore[arg-type]  # they differ
                )
                for envelope in taken
            ]

    def resting(self) -> float:
        return 0.0

    def ping(self) -> None: ...

    def close(self) -> None: ...


class Ahead(SqliteStore):
    """A store whose clock can be set forward."""

    ahead = timedelta(0)

    def clock(self) -> datetime:
        return super().clock() + self.ahead


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Ahead]:
    made = Ahead(tmp_path / "store.sqlite3")
    yield made
    made.close()


@pytest.mark.parametrize("place", [0, 14, 29])
def test_poison_fails_alone(store: Ahead, place: int) -> None:
    at = store.clock()
    emails = [make.email(at, subject=POISON if number == place else "fine") for number in range(30)]
    stored = make.stored(store, at, *emails)
    for _ in range(ROUNDS):
        _take_turn_and_perhaps_crash(store)
        store.ahead += timedelta(seconds=1)
    ends = {email.subject: {_status(store, e) for e in stored if e.subject == email.subject} for email in stored}
    assert ends == {POISON: {Status.FAILED}, "fine": {Status.SENT}}


def _take_turn_and_perhaps_crash(store: Ahead) -> None:
    """What a worker does, and the sweep after its crash."""
    try:
        turn(store, Fragile(), refill=True)
    except Crash:
        store.recover(100, now=store.clock(), doubt_delay=timedelta(0), everything=True)


def _status(store: Ahead, email: Email) -> Status:
    found = store.get(email.account, email.id)
    assert found
    return found.life.status
