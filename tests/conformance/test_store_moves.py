"""Every store: cancelling, rescheduling and retrying go by the email's status, and exclude claims."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest

from postroom.errors import EmailNotFound, WrongState
from postroom.mail import lifecycle
from postroom.mail.email import Email, OnUncertain, Status
from postroom.store.base import Store
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND

Wish = Callable[[Store, str, str], Email]


def cancel(store: Store, account: str, email_id: str) -> Email:
    return store.cancel(account, email_id, now=store.clock())


def reschedule(store: Store, account: str, email_id: str) -> Email:
    return store.reschedule(account, email_id, store.clock() + HOUR, now=store.clock())


def retry(store: Store, account: str, email_id: str) -> Email:
    now = store.clock()
    return store.retry(account, email_id, now=now, max_age=HOUR, wake_up_at=now)


WISHES = (cancel, reschedule, retry)


def one(store: Store, status: Status, **changes: object) -> Email:
    """A stored email that was brought into this status."""
    now = store.clock()
    email = make.scheduled(now, now + HOUR) if status is Status.SCHEDULED else make.email(now, **changes)
    make.stored(store, now, email)
    if status in (Status.SENDING, Status.RETRYING, Status.SENT, Status.FAILED):
        [claim] = make.claimed(store, now, email)
        settlement = {
            Status.RETRYING: make.retrying(claim, now, now + HOUR),
            Status.SENT: make.sent(claim, now),
            Status.FAILED: make.failed(claim, now),
        }.get(status)
        store.settle([settlement] if settlement else [], now=now)
    if status is Status.CANCELED:
        store.cancel(ACCOUNT, email.id, now=now)
    found = store.get(ACCOUNT, email.id)
    assert found
    assert found.life.status is status
    return found


@pytest.mark.parametrize("status", sorted(lifecycle.CANCELABLE))
def test_canceled_email_is_never_claimed(store: Store, status: Status) -> None:
    email = one(store, status)
    now = store.clock()
    canceled = store.cancel(ACCOUNT, email.id, now=now)
    assert canceled.life == lifecycle.cancel(email.life, now=now)
    assert store.get(ACCOUNT, email.id) == canceled
    assert store.claim([email.id], worker="w", now=now + 2 * HOUR, lease=LEASE) == []
    assert store.claim_due(10, worker="w", now=now + 2 * HOUR, lease=LEASE) == []


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("status", [Status.SENDING, Status.SENT])
def test_email_that_is_sending_or_sent_refuses_every_wish(store: Store, wish: Wish, status: Status) -> None:
    email = one(store, status)
    with pytest.raises(WrongState) as caught:
        wish(store, ACCOUNT, email.id)
    assert str(status) in str(caught.value)
    assert store.get(ACCOUNT, email.id) == email


@pytest.mark.parametrize("wish", WISHES)
def test_unknown_email_and_that_of_another_account_are_not_found(store: Store, wish: Wish) -> None:
    email = one(store, Status.CANCELED if wish is retry else Status.SCHEDULED)
    with pytest.raises(EmailNotFound):
        wish(store, ACCOUNT, make.email_id(store.clock()))
    with pytest.raises(EmailNotFound):
        wish(store, "other", email.id)
    assert store.get(ACCOUNT, email.id) == email


def test_scheduled_email_moves_to_its_new_time(store: Store) -> None:
    email = one(store, Status.SCHEDULED)
    now = store.clock()
    moved = store.reschedule(ACCOUNT, email.id, now + 3 * HOUR, now=now)
    assert moved.life == lifecycle.reschedule(email.life, now + 3 * HOUR, now=now)
    assert store.get(ACCOUNT, email.id) == moved
    assert store.claim([email.id], worker="w", now=now + 2 * HOUR, lease=LEASE) == []
    assert store.due(10, now=now + 2 * HOUR, wake_up_again_at=now + 2 * HOUR) == {}
    assert store.due(10, now=now + 3 * HOUR, wake_up_again_at=now + 4 * HOUR) == {email.lane: [email.id]}


def test_email_moved_to_a_time_that_has_passed_is_queued_and_published(store: Store) -> None:
    email = one(store, Status.SCHEDULED)
    now = store.clock()
    moved = store.reschedule(ACCOUNT, email.id, now - HOUR, now=now)
    assert moved.life.status is Status.QUEUED
    assert store.due(10, now=now, wake_up_again_at=now + SECOND) == {email.lane: [email.id]}


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RETRYING, Status.CANCELED, Status.FAILED])
def test_only_a_scheduled_email_is_rescheduled(store: Store, status: Status) -> None:
    email = one(store, status)
    with pytest.raises(WrongState):
        reschedule(store, ACCOUNT, email.id)
    assert store.get(ACCOUNT, email.id) == email


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELED])
def test_retried_email_is_queued_with_fresh_attempts(store: Store, status: Status) -> None:
    email = one(store, status)
    now = store.clock()
    retried = store.retry(ACCOUNT, email.id, now=now, max_age=HOUR, wake_up_at=now + 15 * SECOND)
    assert retried.life == lifecycle.retry(email.life, now=now, max_age=HOUR)
    assert store.get(ACCOUNT, email.id) == retried
    assert store.due(10, now=now + 14 * SECOND, wake_up_again_at=now + HOUR) == {}
    assert store.due(10, now=now + 15 * SECOND, wake_up_again_at=now + HOUR) == {email.lane: [email.id]}
    assert make.claimed(store, now, email)[0].email.life.attempts == 1


def test_uncertain_email_is_queued_again_by_hand(store: Store) -> None:
    email = one(store, Status.QUEUED, on_uncertain=OnUncertain.HOLD)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    store.fence({email.id: claim.token}, now=now, lease=LEASE)
    store.recover(10, now=now + HOUR, doubt_delay=SECOND)
    assert retry(store, ACCOUNT, email.id).life.possible_duplicate


@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.QUEUED, Status.RETRYING])
def test_email_still_at_work_is_not_retried_by_hand(store: Store, status: Status) -> None:
    email = one(store, status)
    with pytest.raises(WrongState):
        retry(store, ACCOUNT, email.id)
    assert store.get(ACCOUNT, email.id) == email


def test_cancel_and_claim_exclude_each_other(store: Store) -> None:
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now) for _ in range(200)))
    together = Barrier(2)

    def canceled() -> set[str]:
        together.wait(20)
        done = set()
        for email in emails:
            with suppress(WrongState):
                done.add(store.cancel(ACCOUNT, email.id, now=now).id)
        return done

    def claimed() -> set[str]:
        together.wait(20)
        claims = [c for e in emails for c in store.claim([e.id], worker="w", now=now, lease=LEASE)]
        return {claim.email.id for claim in claims}

    with ThreadPoolExecutor(2) as pool:
        wishes, claims = pool.submit(canceled), pool.submit(claimed)
    assert not wishes.result() & claims.result()
    assert wishes.result() | claims.result() == {email.id for email in emails}
    assert store.counts()[Status.CANCELED] == len(wishes.result())
    assert store.counts()[Status.SENDING] == len(claims.result())
