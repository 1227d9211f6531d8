"""A turn against a real store, with a transport that plays a script."""

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from postroom.errors import StoreUnavailable
from postroom.mail.email import Email, Lane, OnUncertain, Status
from postroom.mail.outcome import Envelope, HandOff, Outcome, Phase, Verdict
from postroom.store.base import Claim, Settlement
from postroom.store.sqlite import SqliteStore
from postroom.transport.base import Fence, Take
from tests import make
from tests.turns import turn

Script = Callable[[Envelope], Verdict]


class Scripted:
    """A transport that fences everything it is given and answers as its script says; `before_reply` runs in between."""

    relay = "scripted"

    def __init__(
        self,
        script: Script = lambda _: Verdict.ACCEPTED,
        *,
        capacity: int = 10,
        before_reply: Callable[[], None] = lambda: None,
        held_for: Callable[[Envelope], int] = lambda _: 0,
    ) -> None:
        self.script, self.capacity, self.before_reply, self.held_for = script, capacity, before_reply, held_for
        self.handed: list[str] = []
        self.most_at_once = 0

    def send(self, take: Take, *, fence: Fence) -> Generator[Sequence[HandOff], None, None]:
        held: deque[tuple[int, Envelope]] = deque()
        tick = 0
        while True:
            held += [(tick + self.held_for(e), e) for e in take(self.capacity - len(held))]
            self.most_at_once = max(self.most_at_once, len(held))
            if not held:
                return
            ready = [e for due, e in held if due <= tick]
            held = deque((due, e) for due, e in held if due > tick)
            yield self._answer(ready, fence)
            tick += 1

    def _answer(self, ready: Sequence[Envelope], fence: Fence) -> list[HandOff]:
        try:
            passed: Collection[str] = fence([e.email_id for e in ready]) if ready else ()
        except StoreUnavailable:
            passed = ()
        self.before_reply()
        return [_hand_off(e, self.script(e) if e.email_id in passed else Verdict.RELEASED, self) for e in ready]

    def resting(self) -> float:
        return 0.0

    def ping(self) -> None: ...

    def close(self) -> None: ...


def _hand_off(envelope: Envelope, verdict: Verdict, transport: Scripted) -> HandOff:
    if verdict is Verdict.ACCEPTED:
        transport.handed.append(envelope.email_id)
    outcomes = [Outcome(recipient=r, verdict=verdict, phase=Phase.DOT, message="scripted") for r in envelope.rcpt_to]
    return HandOff(email_id=envelope.email_id, relay="scripted", seconds=0.1, outcomes=outcomes)


class Flaky(SqliteStore):
    """A store whose settlements fail as often as told, and whose attachments if told; all else is the real one."""

    failures, unreadable = 0, False

    def attachments(self, email_id: str) -> list[bytes]:
        if self.unreadable:
            raise StoreUnavailable("away for a moment")
        return super().attachments(email_id)

    def settle(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away for a moment")
        return super().settle(settlements, now=now)


class Looking(SqliteStore):
    """A store that notes how many emails each look for due ones has found."""

    def claim_due(
        self, limit: int, *, lowest: Lane = Lane.BULK, worker: str, now: datetime, lease: timedelta
    ) -> list[Claim]:
        claims = super().claim_due(limit, lowest=lowest, worker=worker, now=now, lease=lease)
        if lowest is Lane.BULK:
            self.found = [*getattr(self, "found", []), len(claims)]
        return claims


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Flaky]:
    store = Flaky(tmp_path / "store.sqlite3")
    yield store
    store.close()


def stored(store: SqliteStore, count: int = 1, **changes: object) -> list[Email]:
    at = store.clock()
    return make.stored(store, at, *(make.email(at, **changes) for _ in range(count)))


def status(store: SqliteStore, email: Email) -> Status:
    found = store.get(email.account, email.id)
    assert found
    return found.life.status


def test_turn_sends_everything_due_at_most_so_many_at_once(store: Flaky) -> None:
    emails = stored(store, 37)
    transport = Scripted(capacity=10, held_for=lambda _: 2)
    assert turn(store, transport, emails[0].id) == {"accepted": 37}
    assert sorted(transport.handed) == sorted(e.id for e in emails)
    assert transport.most_at_once == 10


def test_same_wake_up_twice_sends_once(store: Flaky) -> None:
    (email,) = stored(store)
    assert turn(store, Scripted(), email.id) == {"accepted": 1}
    assert turn(store, Scripted(), email.id) == {}


def test_stopping_turn_takes_nothing_and_hands_back_what_waits(store: Flaky) -> None:
    emails = stored(store, 5)
    transport = Scripted(capacity=1)
    stops = iter([False, True])
    verdicts = turn(store, transport, *[e.id for e in emails], stopping=lambda: next(stops, True))
    assert verdicts["accepted"] == 1
    assert [status(store, e) for e in emails] == [Status.SENT] + [Status.QUEUED] * 4
    later = store.get(emails[1].account, emails[1].id)
    assert later
    assert later.life.attempts == 0


def test_stop_out_of_patience_releases_before_the_fence(store: Flaky) -> None:
    (email,) = stored(store)
    stops = iter([False])
    turn(
        store,
        Scripted(held_for=lambda _: 10**9),
        email.id,
        stopping=lambda: next(stops, True),
        stop_limit=timedelta(milliseconds=1),
    )
    found = store.get(email.account, email.id)
    assert found
    assert (found.life.status, found.life.attempts, found.life.possible_duplicate) == (Status.QUEUED, 0, False)


def test_stop_is_heard_while_the_store_is_away(store: Flaky) -> None:
    (email,) = stored(store)
    store.failures = 10**6
    turn(store, Scripted(), email.id, stopping=lambda: store.failures < 10**6 - 2, stop_limit=timedelta(milliseconds=1))
    assert status(store, email) is Status.SENDING


def test_email_whose_attachments_cannot_be_read_waits_a_little(store: Flaky) -> None:
    emails = [*stored(store, attachments=(make.attachment(b"content"),)), *stored(store)]
    store.unreadable = True
    assert turn(store, Scripted(), *(e.id for e in emails)) == {"released": 1, "accepted": 1}
    found = store.get(make.ACCOUNT, emails[0].id)
    assert found
    assert (found.life.status, found.life.attempts, found.life.crash_count) == (Status.QUEUED, 0, 0)
    assert found.life.next_attempt_at is not None
    assert found.life.next_attempt_at > store.clock() + timedelta(seconds=2)


def test_settlement_waits_until_the_store_is_back_and_nothing_new_is_sent_meanwhile(store: Flaky) -> None:
    first, second = stored(store, 2)
    store.failures = 1
    turn(store, Scripted(capacity=1), first.id, second.id)
    assert (status(store, first), status(store, second)) == (Status.SENT, Status.QUEUED)


def test_email_taken_by_the_relay_after_its_claim_lapsed_is_sent_and_flagged(store: Flaky) -> None:
    (email,) = stored(store)

    def lapse() -> None:
        assert store.recover(10, now=store.clock(), doubt_delay=timedelta(hours=1), everything=True) == 1

    turn(store, Scripted(before_reply=lapse), email.id)
    found = store.get(email.account, email.id)
    assert found
    assert (found.life.status, found.life.possible_duplicate) == (Status.SENT, True)


def test_late_refusal_changes_nothing(store: Flaky) -> None:
    (email,) = stored(store)

    def lapse() -> None:
        store.recover(10, now=store.clock(), doubt_delay=timedelta(hours=1), everything=True)

    turn(store, Scripted(lambda _: Verdict.TRANSIENT, before_reply=lapse), email.id)
    assert status(store, email) is Status.QUEUED


def test_fence_stops_an_email_whose_claim_has_lapsed(store: Flaky) -> None:
    (email,) = stored(store)
    transport = Scripted()
    claims = store.claim([email.id], worker="frozen", now=store.clock(), lease=timedelta(seconds=30))
    store.recover(10, now=store.clock(), doubt_delay=timedelta(0), everything=True)
    passed = store.fence({email.id: claims[0].token}, now=store.clock(), lease=timedelta(seconds=120))
    assert passed == set()
    assert transport.handed == []


def test_uncertain_outcome_is_held_for_who_wants_at_most_once(store: Flaky) -> None:
    (email,) = stored(store, on_uncertain=OnUncertain.HOLD)
    turn(store, Scripted(lambda _: Verdict.UNCERTAIN), email.id)
    assert status(store, email) is Status.UNCERTAIN


def test_uncomposable_email_fails_alone(store: Flaky) -> None:
    at = store.clock()
    good, bad = make.email(at), make.email(at, message_id="<broken\r\nBcc: x@example.com>")
    make.stored(store, at, good, bad)
    turn(store, Scripted(), bad.id, good.id)
    assert (status(store, bad), status(store, good)) == (Status.FAILED, Status.SENT)


def test_messages_in_memory_are_bounded_by_bytes(store: Flaky) -> None:
    emails = stored(store, 10, text="x" * 300_000)
    transport = Scripted(capacity=10, held_for=lambda _: 1)
    turn(store, transport, *(e.id for e in emails), bytes_under_way=750_000)
    assert len(transport.handed) == 10
    assert transport.most_at_once == 3


def test_emails_that_trickle_in_are_claimed_in_company(tmp_path: Path) -> None:
    base, calls = make.now(), count()
    store = Looking(tmp_path / "stepping.sqlite3", clock=lambda: base + next(calls) * timedelta(milliseconds=1))
    stored(store)
    trickled = count(1)

    def submit_one() -> None:
        if next(trickled) < 60:
            stored(store)

    transport = Scripted(capacity=100, before_reply=submit_one, held_for=lambda _: 3)
    assert turn(store, transport) == {"accepted": 60}
    assert len(store.found) < 30
    assert max(store.found) > 3
    store.close()


def test_urgent_email_overtakes_a_chunk_of_bulk(tmp_path: Path) -> None:
    base, calls = make.now(), count()
    store = SqliteStore(tmp_path / "stepping.sqlite3", clock=lambda: base + next(calls) * timedelta(milliseconds=10))
    bulk = stored(store, 50, lane=Lane.BULK)
    urgent: list[Email] = []
    ticks = 0

    def submit_urgent() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 5:
            urgent.extend(stored(store, lane=Lane.URGENT))

    transport = Scripted(capacity=1, before_reply=submit_urgent)
    verdicts = turn(store, transport, *(e.id for e in bulk))
    assert verdicts == {"accepted": 51}
    assert transport.handed.index(urgent[0].id) < 50
    store.close()


def test_slow_recipient_does_not_hold_back_what_comes_due_later(tmp_path: Path) -> None:
    base, calls = make.now(), count()
    store = SqliteStore(tmp_path / "stepping.sqlite3", clock=lambda: base + next(calls) * timedelta(milliseconds=10))
    slow, *_ = stored(store, 2)
    later: list[Email] = []

    def submit_later() -> None:
        if not later and store.clock() - base > timedelta(seconds=5):
            later.extend(stored(store))

    transport = Scripted(held_for=lambda e: 2000 if e.email_id == slow.id else 0, before_reply=submit_later)
    limits = {"turn_limit": timedelta(seconds=1), "turn_pause": timedelta(seconds=0.5), "lease": timedelta(hours=1)}
    assert turn(store, transport, slow.id, **limits) == {"accepted": 3}
    assert transport.handed.index(later[0].id) < transport.handed.index(slow.id)
    store.close()
