"""Every store: the sweep publishes what is due, brings back what was lost and ends what is too old."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from msgspec.structs import replace

from postroom.mail import lifecycle
from postroom.mail.email import Email, Lane, OnUncertain, RecipientStatus, Status
from postroom.store.base import Claim, Store
from tests import make
from tests.make import HOUR, LEASE, SECOND, found, one

DELAY = 60 * SECOND


def published(store: Store, now: datetime, limit: int = 100, again: timedelta = 15 * SECOND) -> list[str]:
    by_lane = store.due(limit, now=now, wake_up_again_at=now + again)
    return [email_id for lane in Lane for email_id in by_lane.get(lane, [])]


def claimed(store: Store, now: datetime, **changes: object) -> tuple[Email, Claim]:
    email = one(store, now, **changes)
    return email, make.claimed(store, now, email)[0]


# -- the clocks


def test_claims_lapse_by_the_same_clock_where_nobody_has_set_it(store: Store) -> None:
    before, lapsing, after = store.clock(), store.lapse_clock(), store.clock()
    assert before <= lapsing + SECOND / 10
    assert lapsing <= after


# -- due


def test_new_email_counts_as_published_until_its_wake_up_time(store: Store) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.email(now))
    assert published(store, now + 14 * SECOND) == []
    assert published(store, now + 15 * SECOND) == [email.id]


def test_published_email_is_not_published_again_until_its_next_wake_up(store: Store) -> None:
    now = store.clock() + HOUR
    email = one(store)
    assert published(store, now) == [email.id]
    assert published(store, now + 14 * SECOND) == []
    assert published(store, now + 15 * SECOND) == [email.id]


def test_due_ids_come_by_lane_and_oldest_first(store: Store) -> None:
    now = store.clock()
    emails = [make.email(now + i * SECOND, lane=lane) for lane in Lane for i in (2, 0, 1)]
    make.stored(store, now, *emails)
    by_lane = store.due(100, now=now + HOUR, wake_up_again_at=now + 2 * HOUR)
    oldest_first = sorted(emails, key=lambda email: email.created_at)
    assert {lane: list(ids) for lane, ids in by_lane.items()} == {
        lane: [email.id for email in oldest_first if email.lane is lane] for lane in Lane
    }


def test_due_takes_no_more_than_the_limit_and_goes_on_next_time(store: Store) -> None:
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now) for _ in range(5)))
    taken = [published(store, now + HOUR, limit=2) for _ in range(4)]
    assert [len(some) for some in taken] == [2, 2, 1, 0]
    assert {i for some in taken for i in some} == {email.id for email in emails}


def test_scheduled_email_becomes_queued_when_its_time_has_come(store: Store) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.scheduled(now, now + HOUR))
    assert published(store, now + HOUR - SECOND) == []
    assert found(store, email).life.status is Status.SCHEDULED
    assert published(store, now + HOUR) == [email.id]
    assert found(store, email).life == lifecycle.release(email.life, now=now + HOUR)
    assert published(store, now + HOUR + 14 * SECOND) == []
    assert published(store, now + HOUR + 15 * SECOND) == [email.id]


def test_what_was_published_lately_is_published_again_at_once_and_nothing_that_is_not_due(store: Store) -> None:
    now = store.clock()
    [waiting, scheduled] = make.stored(store, now, make.email(now), make.scheduled(now, now + 10 * SECOND))
    until = now + 15 * SECOND
    found_due = store.due(9, now=now, wake_up_again_at=until + SECOND, published_until=until)
    assert found_due == {Lane.NORMAL: [waiting.id]}
    assert found(store, scheduled).life == scheduled.life
    assert not store.due(9, now=now, wake_up_again_at=until + SECOND, published_until=until)
    assert published(store, now + 10 * SECOND) == [scheduled.id]


def test_emails_scheduled_soon_do_not_hide_what_was_published_lately(store: Store) -> None:
    now = store.clock()
    [waiting] = make.stored(store, now, make.email(now))
    make.stored(store, now, *(make.scheduled(now, now + 10 * SECOND) for _ in range(3)))
    until = now + 15 * SECOND
    found_due = store.due(1, now=now, wake_up_again_at=until + SECOND, published_until=until)
    assert found_due == {Lane.NORMAL: [waiting.id]}


def test_email_scheduled_soon_is_published_at_its_time(store: Store) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.scheduled(now, now + SECOND))
    assert published(store, now + SECOND) == [email.id]


def test_email_that_retries_is_published_at_its_next_attempt(store: Store) -> None:
    now = store.clock()
    email, claim = claimed(store, now)
    store.settle([make.retrying(claim, now, now + DELAY)], now=now)
    assert published(store, now + DELAY - SECOND) == []
    assert published(store, now + DELAY) == [email.id]


def test_expired_email_is_not_published_and_gets_out_of_the_way(store: Store) -> None:
    now = store.clock()
    over, later = make.new_life(now - HOUR, expires_at=now), make.new_life(now)
    make.stored(store, now - HOUR, *(make.email(now - HOUR, life=over) for _ in range(3)))
    [valid] = make.stored(store, now - SECOND, make.email(now, life=later))
    again_at = now + 15 * SECOND
    assert store.due(3, now=now, wake_up_again_at=again_at, published_until=again_at - SECOND) == {Lane.NORMAL: []}
    assert store.due(3, now=now, wake_up_again_at=again_at, published_until=again_at - SECOND) == {
        Lane.NORMAL: [valid.id]
    }
    assert store.due(3, now=now, wake_up_again_at=again_at, published_until=again_at - SECOND) == {}


def test_claimed_and_finished_emails_are_not_published(store: Store) -> None:
    now = store.clock()
    claimed(store, now)
    _, claim = claimed(store, now)
    store.settle([make.sent(claim, now)], now=now)
    assert published(store, now + HOUR) == []


def test_two_sweeps_never_publish_the_same(store: Store) -> None:
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now, lane=lane) for lane in Lane for _ in range(60)))
    together = Barrier(4)

    def sweep(_: int) -> list[str]:
        together.wait(20)
        return [i for _ in range(20) for i in published(store, now + HOUR, limit=10)]

    with ThreadPoolExecutor(4) as pool:
        ids = [email_id for some in pool.map(sweep, range(4)) for email_id in some]
    assert sorted(ids) == sorted(email.id for email in emails)


# -- recover


def test_claim_that_lapsed_before_the_fence_goes_back_to_the_queue(store: Store) -> None:
    now = store.clock()
    email, claim = claimed(store, now)
    late = now + LEASE
    assert store.recover(10, now=late, doubt_delay=DELAY) == 1
    life = lifecycle.lapse_before_fence(claim.email.life, now=late, again_at=late, worker="w1")
    assert found(store, email).life == life
    assert published(store, late) == [email.id]


def test_claim_that_holds_is_left_alone(store: Store) -> None:
    now = store.clock()
    email, claim = claimed(store, now)
    assert store.recover(10, now=now + LEASE - SECOND, doubt_delay=DELAY) == 0
    assert found(store, email) == claim.email


@pytest.mark.parametrize("choice", OnUncertain)
def test_claim_that_lapsed_after_the_fence_ends_as_the_email_says(store: Store, choice: OnUncertain) -> None:
    now = store.clock()
    email, claim = claimed(store, now, on_uncertain=choice)
    store.fence({email.id: claim.token}, now=now, lease=LEASE)
    late = now + LEASE
    assert store.recover(10, now=late, doubt_delay=DELAY) == 1
    life = lifecycle.lapse_after_fence(
        claim.email.life, now=late, again_at=late + DELAY, worker="w1", on_uncertain=choice, max_attempts=25
    )
    assert found(store, email).life == life
    again = store.claim_due(10, worker="w2", now=late + DELAY, lease=LEASE)
    assert len(again) == (choice is OnUncertain.RESEND)


def test_last_attempt_that_lapsed_after_the_fence_is_held(store: Store) -> None:
    now = store.clock()
    email, claim = claimed(store, now, max_attempts=1)
    store.fence({email.id: claim.token}, now=now, lease=LEASE)
    assert store.recover(10, now=now + LEASE, doubt_delay=DELAY) == 1
    assert found(store, email).life.status is Status.UNCERTAIN
    assert published(store, now + LEASE + HOUR) == []


def test_email_in_doubt_is_not_sent_again_before_its_delay(store: Store) -> None:
    now = store.clock()
    email, claim = claimed(store, now)
    store.fence({email.id: claim.token}, now=now, lease=LEASE)
    store.recover(10, now=now + LEASE, doubt_delay=DELAY)
    assert store.claim([email.id], worker="w2", now=now + LEASE + DELAY - SECOND, lease=LEASE) == []
    assert published(store, now + LEASE + DELAY - SECOND) == []


def test_recover_everything_does_not_wait_for_leases(store: Store) -> None:
    now = store.clock()
    email, _ = claimed(store, now)
    assert store.recover(10, now=now, doubt_delay=DELAY, everything=True) == 1
    assert found(store, email).life.status is Status.QUEUED


def test_recover_takes_no_more_than_the_limit_and_drops_none(store: Store) -> None:
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now) for _ in range(5)))
    make.claimed(store, now, *emails)
    assert [store.recover(2, now=now + HOUR, doubt_delay=DELAY) for _ in range(4)] == [2, 2, 1, 0]
    assert store.counts()[Status.QUEUED] == 5


def test_claims_that_lapsed_each_by_itself_are_all_recovered_at_once(store: Store) -> None:
    now = store.clock()
    for email in make.stored(store, now, *(make.email(now) for _ in range(120))):
        make.claimed(store, now, email)
    assert store.recover(1000, now=now + HOUR, doubt_delay=DELAY) == 120


def test_email_that_was_claimed_twice_is_recovered_beside_another(store: Store) -> None:
    now = store.clock()
    first, second, third = make.stored(store, now, make.email(now), make.email(now), make.email(now))
    store.settle([make.sent(make.claimed(store, now, first, second)[0], now)], now=now)
    store.recover(9, now=now, doubt_delay=DELAY, everything=True)
    make.claimed(store, now, second, third)
    assert store.recover(2, now=now + HOUR, doubt_delay=DELAY) == 2


def test_email_that_crashes_its_worker_every_time_fails_in_the_end(store: Store) -> None:
    now = store.clock()
    email = one(store, now)
    for _ in range(lifecycle.CRASHES_ALLOWED):
        make.claimed(store, now, email)
        now += LEASE
        assert store.recover(10, now=now, doubt_delay=DELAY) == 1
    assert found(store, email).life.status is Status.FAILED
    assert store.backlog() == 0


# -- expire


def test_email_fails_when_its_deadline_has_passed(store: Store) -> None:
    email = one(store)
    deadline = email.life.expires_at
    assert store.expire(10, now=deadline - SECOND) == 0
    assert store.expire(10, now=deadline) == 1
    assert found(store, email).life == lifecycle.expire(email.life, now=deadline)
    assert store.expire(10, now=deadline) == 0


def test_rest_of_an_email_in_doubt_expires(store: Store) -> None:
    now = store.clock()
    email, claim = claimed(store, now, to=("a@example.com", "b@example.com"))
    settlement = make.retrying(claim, now, now + DELAY)
    first, second = settlement.life.recipients
    doubtful = replace(settlement.life, recipients=(replace(first, status=RecipientStatus.UNCERTAIN), second))
    store.settle([replace(settlement, life=doubtful)], now=now)
    assert store.expire(10, now=now + 100 * HOUR) == 1
    assert found(store, email).life.status is Status.UNCERTAIN


def test_claimed_email_does_not_expire(store: Store) -> None:
    email, claim = claimed(store, store.clock())
    assert store.expire(10, now=email.life.expires_at + HOUR) == 0
    assert found(store, email) == claim.email


def test_expire_takes_no_more_than_the_limit(store: Store) -> None:
    now = store.clock()
    make.stored(store, now, *(make.email(now) for _ in range(5)))
    assert [store.expire(2, now=now + 100 * HOUR) for _ in range(4)] == [2, 2, 1, 0]
