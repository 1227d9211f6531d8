"""Every store: the end of a claim is written once, by its holder, or late while nobody else has begun."""

from collections.abc import Callable
from datetime import datetime

import pytest
from msgspec.structs import replace

from postroom.mail import lifecycle
from postroom.mail.email import Email, Life, OnUncertain, Status
from postroom.store.base import Claim, Settlement, Store
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND, found, one

Anew = Callable[[Store, datetime, Email], Claim]


def by_its_id(store: Store, now: datetime, email: Email) -> Claim:
    """Claims an email that is due as a wake-up has it claimed."""
    [claim] = make.claimed(store, now, email)
    return claim


def as_due(store: Store, now: datetime, email: Email) -> Claim:
    """Claims an email that is due, the only one, without a wake-up."""
    [claim] = store.claim_due(10, worker="w1", now=now, lease=LEASE)
    assert claim.email.id == email.id
    return claim


either_way_of_claiming = pytest.mark.parametrize("claimed_anew", [by_its_id, as_due])


def life(store: Store, email: Email) -> Life:
    return found(store, email).life


def in_doubt(store: Store, now: datetime, **changes: object) -> tuple[Email, Claim]:
    """An email whose fenced claim has lapsed an hour later, and that claim."""
    email = one(store, now, **changes)
    [claim] = make.claimed(store, now, email)
    store.fence({email.id: claim.token}, now=now, lease=LEASE)
    assert store.recover(10, now=now + HOUR, doubt_delay=60 * SECOND) == 1
    return email, claim


def late(claim: Claim, now: datetime) -> list[Settlement]:
    return [make.sent(claim, now)]


def test_settled_life_is_kept_whole(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    settlement = make.sent(claim, now)
    assert store.settle([settlement], now=now) == {email.id}
    assert store.get(ACCOUNT, email.id) == replace(email, life=settlement.life)


def test_lives_with_much_to_tell_are_settled_at_once(store: Store) -> None:
    now = store.clock()
    addresses = [f"{number}@example.com" for number in range(1000)]
    emails = make.stored(store, now, *(make.email(now, to=addresses) for _ in range(30)))
    settlements = [make.retrying(claim, now, now + HOUR) for claim in make.claimed(store, now, *emails)]
    told = [
        replace(s, life=replace(s.life, recipients=tuple(replace(r, message="x" * 500) for r in s.life.recipients)))
        for s in settlements
    ]
    assert store.settle(told, now=now) == {email.id for email in emails}
    assert life(store, emails[-1]) == told[-1].life


def test_many_are_settled_at_once_and_only_the_holders(store: Store) -> None:
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now) for _ in range(4)))
    claims = make.claimed(store, now, *emails)
    settlements = [make.sent(claim, now) for claim in claims]
    settlements[1] = replace(settlements[1], token="wrong")
    settlements[2] = replace(settlements[2], email_id=make.email_id(now))
    assert store.settle(settlements, now=now) == {emails[0].id, emails[3].id}
    assert [life(store, e).status for e in emails] == [Status.SENT, Status.SENDING, Status.SENDING, Status.SENT]
    assert store.settle([], now=now) == set()


def test_claim_is_settled_once(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    store.settle([make.sent(claim, now)], now=now)
    assert store.settle([make.failed(claim, now)], now=now) == set()
    assert life(store, email).status is Status.SENT


def test_claim_past_its_lease_is_settled_while_it_was_not_recovered(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    assert store.settle([make.sent(claim, now)], now=now + HOUR) == {email.id}


def test_recovered_claim_is_refused_and_its_email_untouched(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    store.recover(10, now=now + HOUR, doubt_delay=SECOND)
    before = store.get(ACCOUNT, email.id)
    assert store.settle([make.sent(claim, now)], now=now) == set()
    assert store.get(ACCOUNT, email.id) == before


def test_lapsed_claim_does_not_settle_the_next_one(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [first] = make.claimed(store, now, email)
    store.recover(10, now=now + HOUR, doubt_delay=SECOND)
    [second] = make.claimed(store, now + HOUR, email)
    assert store.settle([make.failed(first, now)], now=now) == set()
    assert store.settle([make.sent(second, now)], now=now) == {email.id}


def test_retrying_email_waits_for_its_next_attempt(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    store.settle([make.retrying(claim, now, now + 60 * SECOND)], now=now)
    assert store.claim_due(10, worker="w", now=now + 59 * SECOND, lease=LEASE) == []
    assert make.claimed(store, now + 60 * SECOND, email)


def test_email_handed_back_is_published_again_at_once(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    back = replace(claim.email.life, status=Status.QUEUED, next_attempt_at=now, attempts=0)
    store.settle([Settlement(email_id=email.id, token=claim.token, life=back)], now=now)
    assert store.due(10, now=now, wake_up_again_at=now + SECOND) == {email.lane: [email.id]}


@pytest.mark.parametrize(
    ("choice", "status"), [(OnUncertain.RESEND, Status.QUEUED), (OnUncertain.HOLD, Status.UNCERTAIN)]
)
def test_late_success_is_written_while_nobody_else_has_begun(store: Store, choice: OnUncertain, status: Status) -> None:
    now = store.clock()
    email, claim = in_doubt(store, now, on_uncertain=choice)
    lapsed = life(store, email)
    assert lapsed.status is status
    settlement = make.sent(claim, now)
    assert store.settle_late([settlement], now=now + HOUR) == {email.id}
    assert life(store, email) == lifecycle.succeed_late(lapsed, settlement.life)
    assert store.claim_due(10, worker="w", now=now + 2 * HOUR, lease=LEASE) == []


def test_late_success_leaves_what_happened_meanwhile_on_the_timeline(store: Store) -> None:
    now = store.clock()
    email, claim = in_doubt(store, now, on_uncertain=OnUncertain.HOLD)
    store.retry(ACCOUNT, email.id, now=now + HOUR, max_age=100 * HOUR, wake_up_at=now)
    assert store.settle_late(late(claim, now), now=now + HOUR) == {email.id}
    assert [line.event for line in life(store, email).timeline] == ["outcome_unknown", "retried_by_hand", "sent"]


def test_late_success_of_some_recipients_is_written_and_the_others_are_tried_again(store: Store) -> None:
    now = store.clock()
    email, claim = in_doubt(store, now, on_uncertain=OnUncertain.HOLD)
    assert store.settle_late([make.retrying(claim, now, now + HOUR)], now=now) == {email.id}
    assert make.claimed(store, now + HOUR, email)


def test_late_success_is_written_once(store: Store) -> None:
    now = store.clock()
    _, claim = in_doubt(store, now)
    store.settle_late(late(claim, now), now=now)
    assert store.settle_late(late(claim, now), now=now) == set()


@either_way_of_claiming
def test_late_success_is_refused_while_another_worker_is_sending(store: Store, claimed_anew: Anew) -> None:
    now = store.clock()
    email, claim = in_doubt(store, now)
    claimed_anew(store, now + 2 * HOUR, email)
    assert store.settle_late(late(claim, now), now=now) == set()
    assert life(store, email).status is Status.SENDING


@either_way_of_claiming
def test_late_success_is_refused_after_another_worker_has_tried(store: Store, claimed_anew: Anew) -> None:
    now = store.clock()
    email, claim = in_doubt(store, now)
    other = claimed_anew(store, now + 2 * HOUR, email)
    store.settle([make.retrying(other, now, now + HOUR)], now=now)
    assert store.settle_late(late(claim, now), now=now) == set()
    assert life(store, email).status is Status.RETRYING


def test_late_success_is_refused_for_a_claim_that_was_never_fenced(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    store.recover(10, now=now + HOUR, doubt_delay=SECOND)
    assert store.settle_late(late(claim, now), now=now) == set()
    assert life(store, email).status is Status.QUEUED


def test_late_success_is_refused_while_the_claim_still_holds(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    store.fence({email.id: claim.token}, now=now, lease=LEASE)
    assert store.settle_late(late(claim, now), now=now) == set()
    assert life(store, email).status is Status.SENDING


def test_late_success_does_not_undo_a_cancellation(store: Store) -> None:
    now = store.clock()
    email, claim = in_doubt(store, now)
    store.cancel(ACCOUNT, email.id, now=now)
    assert store.settle_late(late(claim, now), now=now) == set()
    assert life(store, email).status is Status.CANCELED


def test_late_success_of_an_email_queued_again_by_hand_is_written(store: Store) -> None:
    now = store.clock()
    email, claim = in_doubt(store, now, on_uncertain=OnUncertain.HOLD)
    store.retry(ACCOUNT, email.id, now=now, max_age=HOUR, wake_up_at=now)
    assert store.settle_late(late(claim, now), now=now) == {email.id}
    assert life(store, email).status is Status.SENT


@either_way_of_claiming
def test_second_lapse_makes_the_first_claim_worthless(store: Store, claimed_anew: Anew) -> None:
    now = store.clock()
    email, first = in_doubt(store, now)
    second = claimed_anew(store, now + 2 * HOUR, email)
    store.fence({email.id: second.token}, now=now + 2 * HOUR, lease=LEASE)
    store.recover(10, now=now + 3 * HOUR, doubt_delay=SECOND)
    assert store.settle_late(late(first, now), now=now) == set()
    assert store.settle_late(late(second, now), now=now) == {email.id}
