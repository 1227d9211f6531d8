"""A turn that outlasts the leases of what it holds."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroom.mail.email import Status
from postroom.mail.outcome import Envelope, HandOff, Outcome, Phase, Verdict
from postroom.store.sqlite import SqliteStore
from postroom.transport.base import Fence, Take
from tests import make
from tests.turns import turn

TICK = timedelta(seconds=10)
SHORT, LONG = timedelta(seconds=40), timedelta(hours=1)


class Ahead(SqliteStore):
    """A store whose clock can be set forward."""

    ahead = timedelta(0)

    def clock(self) -> datetime:
        return super().clock() + self.ahead


class Slow:
    """A transport whose relay takes ten ticks for each email, before the final dot or after it. At each of them the
    sweep passes by, and `at_tick` runs."""

    relay = "slow"

    def __init__(
        self, store: Ahead, *, capacity: int = 1, after_the_dot: bool = False, at_tick: Callable[[int], object] = id
    ) -> None:
        self.store, self.capacity, self.after_the_dot, self.at_tick = store, capacity, after_the_dot, at_tick
        self.recovered = 0
        self.handed: list[str] = []

    def send(self, take: Take, *, fence: Fence) -> Generator[Sequence[HandOff], None, None]:
        under_way = list(take(self.capacity))
        while under_way:
            ids = [envelope.email_id for envelope in under_way]
            passed = fence(ids) if self.after_the_dot else set()
            for tick in range(10):
                self.store.ahead += TICK
                yield []
                self.recovered += self.store.recover(10, now=self.store.clock(), doubt_delay=timedelta(0))
                self.at_tick(tick)
                under_way += take(self.capacity - len(under_way))
            if not self.after_the_dot:
                passed = fence(ids)
            self.handed += passed
            yield [_hand_off(envelope, envelope.email_id in passed) for envelope in under_way[: len(ids)]]
            under_way = [*under_way[len(ids) :], *take(self.capacity)]

    def resting(self) -> float:
        return 0.0

    def ping(self) -> None: ...

    def close(self) -> None: ...


def _hand_off(envelope: Envelope, passed: bool) -> HandOff:
    verdict = Verdict.ACCEPTED if passed else Verdict.RELEASED
    outcome = Outcome(recipient=envelope.rcpt_to[0], verdict=verdict, phase=Phase.DOT, message="scripted")
    return HandOff(email_id=envelope.email_id, relay="slow", seconds=1.0, outcomes=[outcome])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Ahead]:
    with closing(Ahead(tmp_path / "store.sqlite3")) as store:
        yield store


def stored(store: Ahead, count: int) -> list[str]:
    at = store.clock()
    return [email.id for email in make.stored(store, at, *(make.email(at) for _ in range(count)))]


def lives(store: Ahead, *ids: str) -> set[tuple[Status, int, bool]]:
    """How these emails stand: status, crashes, whether they may have gone out twice."""
    found = [store.get(make.ACCOUNT, email_id) for email_id in ids]
    return {(e.life.status, e.life.crash_count, e.life.possible_duplicate) for e in found if e}


@pytest.mark.parametrize("after_the_dot", [False, True])
@pytest.mark.parametrize(("lease", "doubt_lease"), [(SHORT, LONG), (LONG, SHORT)])
def test_leases_are_renewed_in_time_whichever_is_the_shorter(
    store: Ahead, lease: timedelta, doubt_lease: timedelta, after_the_dot: bool
) -> None:
    ids = stored(store, 1)
    transport = Slow(store, after_the_dot=after_the_dot)
    turn(store, transport, *ids, lease=lease, doubt_lease=doubt_lease)
    assert transport.recovered == 0
    assert lives(store, *ids) == {(Status.SENT, 0, False)}


def test_emails_that_wait_behind_others_are_held_for_longer_than_an_attempt_may_take(store: Ahead) -> None:
    ids = stored(store, 5)
    transport = Slow(store)
    turn(store, transport, *ids, attempt_limit=timedelta(seconds=150), turn_age=LONG)
    assert transport.recovered == 0
    assert sorted(transport.handed) == sorted(ids)
    assert lives(store, *ids) == {(Status.SENT, 0, False)}


def test_attempt_that_takes_too_long_is_given_up(store: Ahead) -> None:
    ids = stored(store, 1)
    transport = Slow(store)
    turn(store, transport, *ids, attempt_limit=timedelta(seconds=30), turn_limit=timedelta(0))
    assert (transport.recovered, transport.handed) == (1, [])
    assert lives(store, *ids) == {(Status.QUEUED, 1, False)}


def test_old_turn_hands_back_what_still_waits(store: Ahead) -> None:
    ids = stored(store, 5)
    transport = Slow(store)
    turn(
        store,
        transport,
        *ids,
        claim_size=2,
        turn_age=timedelta(seconds=60),
        turn_limit=timedelta(seconds=60),
    )
    assert len(transport.handed) == 2
    assert lives(store, *transport.handed) == {(Status.SENT, 0, False)}
    assert lives(store, *(set(ids) - set(transport.handed))) == {(Status.QUEUED, 0, False)}


@pytest.mark.parametrize("capacity", [2, 4])
def test_email_whose_claim_lapsed_is_not_sent_again_beside_itself(store: Ahead, capacity: int) -> None:
    def lapse(_: int) -> None:
        assert store.recover(10, now=store.clock(), doubt_delay=timedelta(0), everything=True) == 4
        transport.at_tick = id  # once

    ids = stored(store, 4)  # of which two wait, or none
    transport = Slow(store, capacity=capacity, at_tick=lapse)
    for _ in range(2):
        turn(store, transport, turn_age=LONG)
        store.ahead += LONG
    assert sorted(transport.handed) == sorted(ids)
    assert {status for status, _, _ in lives(store, *ids)} == {Status.SENT}
