"""An email that breaks whoever takes it is failed in the end, and takes no other with it."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroom import settings, wiring
from postroom.deliver import SuspectPlace
from postroom.errors import StoreUnavailable
from postroom.mail.email import Email, Status
from postroom.mail.outcome import Envelope, HandOff, Outcome, Phase, Verdict
from postroom.store.base import Settlement, Store
from postroom.store.sqlite import SqliteStore
from postroom.transport.base import Fence, Take
from postroom.worker.embedded import EmbeddedWorker
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
            yield self.accepted(taken, fence)

    def accepted(self, taken: Sequence[Envelope], fence: Fence) -> Sequence[HandOff]:
        """The relay takes them all."""
        passed = fence([envelope.email_id for envelope in taken])
        assert len(passed) == len(taken)
        accepted = {"verdict": Verdict.ACCEPTED, "phase": Phase.DOT, "message": ""}
        return [
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


class Patient(Fragile):
    """A transport that keeps a suspect in hand until another thread has met the other one."""

    def __init__(self) -> None:
        self.met: Callable[[str], bool] = lambda _: False
        self.in_hand: set[str] = set()
        self.most = 0

    def send(self, take: Take, *, fence: Fence) -> Generator[Sequence[HandOff], None, None]:
        while taken := take(self.capacity):
            ids = {envelope.email_id for envelope in taken}
            self.in_hand |= ids
            self.most = max(self.most, len(self.in_hand))
            thread = threading.current_thread().name
            soon(lambda thread=thread: self.most > 1 or self.met(thread))
            accepted = self.accepted(taken, fence)
            self.in_hand -= ids
            yield accepted


class Ahead(SqliteStore):
    """A store whose clock can be set forward."""

    ahead = timedelta(0)

    def clock(self) -> datetime:
        return super().clock() + self.ahead


class Away(SqliteStore):
    """A store that does not take the first settlement."""

    place: SuspectPlace
    settled = 0

    def settle(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        self.settled += 1
        if self.settled == 1:
            raise StoreUnavailable("away")
        assert not self.place.take()
        return super().settle(settlements, now=now)


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


def test_turns_of_one_process_have_one_suspect_in_hand_between_them(tmp_path: Path) -> None:
    transport = Patient()
    variables = {"POSTROOM_STORE_URL": f"sqlite:///{tmp_path}/store.sqlite3", "POSTROOM_RELAY_URL": "simulated://"}
    with closing(replace(wiring.build(settings.load(variables)), transport=transport)) as postroom:
        postroom.start()
        store = postroom.store
        stored = make.stored(store, store.clock(), *(_suspect(store.clock()) for _ in range(2)))
        transport.met = lambda thread: any(_met(make.found(store, email), thread) for email in stored)
        with closing(EmbeddedWorker(postroom)) as worker:
            worker.start()
            soon(lambda: all(_status(store, email) is Status.SENT for email in stored))
    assert transport.most == 1


def test_turn_that_crashes_leaves_the_place_to_other_suspects(store: Ahead) -> None:
    place = SuspectPlace()
    at = store.clock()
    make.stored(store, at, make.email(at, subject=POISON, life=make.new_life(at, crash_count=2)))
    with pytest.raises(Crash):
        turn(store, Fragile(), suspect_place=place)
    [other] = make.stored(store, at, _suspect(at))
    turn(store, Fragile(), suspect_place=place)
    assert _status(store, other) is Status.SENT
    assert place.take()


def test_suspect_is_in_hand_until_its_end_is_written(tmp_path: Path) -> None:
    with closing(Away(tmp_path / "store.sqlite3")) as store:
        store.place = SuspectPlace()
        [email] = make.stored(store, store.clock(), _suspect(store.clock()))
        turn(store, Fragile(), email.id, suspect_place=store.place)
        assert (_status(store, email), store.settled) == (Status.SENT, 2)
        assert store.place.take()


def _take_turn_and_perhaps_crash(store: Ahead) -> None:
    """What a worker does, and the sweep after its crash."""
    try:
        turn(store, Fragile())
    except Crash:
        store.recover(100, now=store.clock(), doubt_delay=timedelta(0), everything=True)


def _suspect(at: datetime) -> Email:
    """An email that one more crash fails."""
    return make.email(at, life=make.new_life(at, crash_count=2))


def _met(email: Email, thread: str) -> bool:
    """Whether another thread than this one has put the email off, or it was sent."""
    own = thread.removeprefix("worker-")
    workers = {event.detail["worker"] for event in email.life.timeline if event.event == "handed_back"}
    return email.life.status is Status.SENT or any(not str(worker).endswith(f"/{own}") for worker in workers)


def _status(store: Store, email: Email) -> Status:
    return make.found(store, email).life.status


def soon(happened: Callable[[], bool]) -> None:
    """Waits for something that other threads do."""
    never = threading.Event()
    for _ in range(2_000):
        if happened():
            return
        never.wait(0.01)
    raise AssertionError("did not happen in 20 seconds")
