"""Every store: an email goes to one worker at a time, and the fence and the lease say how long."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from msgspec.structs import replace

from postroom.mail.email import Lane, Status
from postroom.store.base import Claim, Store
from tests import make
from tests.make import HOUR, LEASE, SECOND, one


def ids(claims: list[Claim]) -> list[str]:
    return [claim.email.id for claim in claims]


def recovered(store: Store, now: object) -> int:
    return store.recover(10, now=now, doubt_delay=60 * SECOND)  # type: ignore[arg-type]


def test_claimed_email_is_sending_and_its_attempt_is_counted(store: Store) -> None:
    email = one(store)
    at = store.clock() + SECOND
    [claim] = make.claimed(store, at, email)
    assert claim.email.life == replace(email.life, status=Status.SENDING, attempts=1, last_attempt_at=at)
    assert store.get(email.account, email.id) == claim.email


def test_claims_come_in_the_order_that_was_asked(store: Store) -> None:
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now) for _ in range(5)))
    wanted = [emails[i].id for i in (3, 0, 4, 1, 2)]
    assert ids(store.claim(wanted, worker="w", now=now, lease=LEASE)) == wanted


def test_unknown_and_repeated_ids_are_passed_over(store: Store) -> None:
    first, second = one(store), one(store)
    wanted = ["not an id", first.id, make.email_id(store.clock()), second.id, first.id]
    assert ids(store.claim(wanted, worker="w", now=store.clock(), lease=LEASE)) == [first.id, second.id]
    assert store.claim([], worker="w", now=store.clock(), lease=LEASE) == []


def test_held_email_is_not_claimed_again_even_when_its_lease_has_ended(store: Store) -> None:
    email = one(store)
    make.claimed(store, store.clock(), email)
    assert store.claim([email.id], worker="w2", now=store.clock() + HOUR, lease=LEASE) == []
    assert store.claim_due(10, worker="w2", now=store.clock() + HOUR, lease=LEASE) == []


def test_email_is_claimed_from_its_time_on(store: Store) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.scheduled(now, now + HOUR))
    almost = now + HOUR - SECOND / 1000
    assert store.claim([email.id], worker="w", now=almost, lease=LEASE) == []
    assert store.claim_due(10, worker="w", now=almost, lease=LEASE) == []
    assert ids(store.claim([email.id], worker="w", now=now + HOUR, lease=LEASE)) == [email.id]


def test_email_is_not_claimed_after_its_deadline(store: Store) -> None:
    email = one(store)
    assert store.claim([email.id], worker="w", now=email.life.expires_at, lease=LEASE) == []
    assert store.claim_due(10, worker="w", now=email.life.expires_at, lease=LEASE) == []


def test_retried_email_gets_a_new_token_and_another_attempt(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [first] = make.claimed(store, now, email)
    store.settle([make.retrying(first, now, now + 60 * SECOND)], now=now)
    [second] = make.claimed(store, now + 60 * SECOND, email)
    assert second.token != first.token
    assert second.email.life.attempts == 2


def test_urgent_lane_is_served_first_and_the_longest_due_within_a_lane(store: Store) -> None:
    now = store.clock()
    lanes = (Lane.BULK, Lane.URGENT, Lane.NORMAL)
    old = [make.email(now - SECOND, lane=lane) for lane in lanes]
    new = [make.email(now, lane=lane) for lane in lanes]
    make.stored(store, now, *new, *old)
    expected = [email.id for lane in Lane for email in (*old, *new) if email.lane is lane]
    assert ids(store.claim_due(10, worker="w", now=now, lease=LEASE)) == expected


def test_claim_due_takes_no_more_than_the_limit_and_goes_on_next_time(store: Store) -> None:
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now + i * SECOND / 1000) for i in range(5)))
    late = now + SECOND
    taken = [ids(store.claim_due(2, worker="w", now=late, lease=LEASE)) for _ in range(4)]
    assert [len(some) for some in taken] == [2, 2, 1, 0]
    assert [i for some in taken for i in some] == [email.id for email in emails]


def test_due_emails_behind_some_that_have_expired_are_claimed(store: Store) -> None:
    now = store.clock()
    over = make.new_life(now - HOUR, expires_at=now)
    for lane in Lane:
        make.stored(store, now - HOUR, *(make.email(now - HOUR, life=over, lane=lane) for _ in range(30)))
    emails = make.stored(store, now, *(make.email(now, lane=lane) for lane in Lane for _ in range(2)))
    assert ids(store.claim_due(5, worker="w", now=now, lease=LEASE)) == [email.id for email in emails[:5]]
    assert ids(store.claim_due(5, worker="w", now=now, lease=LEASE)) == [emails[5].id]


def test_claim_due_leaves_the_lanes_below_the_lowest(store: Store) -> None:
    now = store.clock()
    by_lane = {lane: make.email(now, lane=lane).id for lane in Lane}
    emails = [make.email(now, lane=lane, id=by_lane[lane]) for lane in Lane]
    make.stored(store, now, *emails)
    due = store.claim_due(10, lowest=Lane.URGENT, worker="w", now=now, lease=LEASE)
    assert ids(due) == [by_lane[Lane.URGENT]]
    due = store.claim_due(10, lowest=Lane.NORMAL, worker="w", now=now, lease=LEASE)
    assert ids(due) == [by_lane[Lane.NORMAL]]


def test_two_claimers_never_share_an_email(store: Store) -> None:
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now) for _ in range(200)))
    wanted = [email.id for email in emails]
    together = Barrier(8)

    def claim(serial: int) -> list[str]:
        together.wait(20)
        if serial % 2:
            return ids(store.claim_due(150, worker=f"w{serial}", now=now, lease=LEASE))
        return ids(store.claim(wanted[serial * 10 : serial * 10 + 150], worker=f"w{serial}", now=now, lease=LEASE))

    with ThreadPoolExecutor(8) as pool:
        claimed = [email_id for some in pool.map(claim, range(8)) for email_id in some]
    assert sorted(claimed) == sorted(wanted)


def test_renewed_claim_outlives_its_first_lease(store: Store) -> None:
    first, second = one(store), one(store)
    now = store.clock()
    kept, left = make.claimed(store, now, first, second)
    store.renew({first.id: kept.token, second.id: "wrong"}, now=now + 20 * SECOND, lease=LEASE)
    assert recovered(store, now + 31 * SECOND) == 1
    assert store.settle([make.sent(kept, now), make.sent(left, now)], now=now) == {first.id}


def test_recovered_claim_cannot_be_renewed(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    recovered(store, now + 31 * SECOND)
    store.renew({email.id: claim.token}, now=now, lease=HOUR)
    assert make.claimed(store, now + 31 * SECOND, email)


def test_fence_passes_exactly_the_claims_that_hold(store: Store) -> None:
    mine, others, free = one(store), one(store), one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, mine)
    [other] = make.claimed(store, now, others, worker="w2")
    tokens = {mine.id: claim.token, others.id: "wrong", free.id: claim.token, make.email_id(now): other.token}
    assert store.fence(tokens, now=now, lease=LEASE) == {mine.id}
    assert store.fence({}, now=now, lease=LEASE) == set()


def test_fence_refuses_a_claim_whose_lease_has_ended(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    assert store.fence({email.id: claim.token}, now=now + LEASE, lease=LEASE) == set()


@pytest.mark.parametrize("how", ["settled", "recovered", "claimed anew"])
def test_fence_refuses_a_claim_that_is_over(store: Store, how: str) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    if how == "settled":
        store.settle([make.sent(claim, now)], now=now)
    else:
        recovered(store, now + 31 * SECOND)
    if how == "claimed anew":
        make.claimed(store, now + 31 * SECOND, email)
    assert store.fence({email.id: claim.token}, now=now + 32 * SECOND, lease=LEASE) == set()


def test_fence_starts_a_lease_of_its_own(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    store.fence({email.id: claim.token}, now=now, lease=120 * SECOND)
    assert recovered(store, now + 119 * SECOND) == 0
    assert recovered(store, now + 120 * SECOND) == 1


def test_fence_may_shorten_a_lease(store: Store) -> None:
    email, other = one(store), one(store)
    now = store.clock()
    claims = make.claimed(store, now, email, other)
    store.renew({claim.email.id: claim.token for claim in claims}, now=now, lease=HOUR)
    token = {claim.email.id: claim.token for claim in claims}[email.id]
    assert store.fence({email.id: token}, now=now, lease=LEASE) == {email.id}
    assert store.fence({email.id: token}, now=now + LEASE, lease=LEASE) == set()
    assert recovered(store, now + LEASE) == 1
    assert recovered(store, now + HOUR) == 1


def test_fenced_claim_can_be_renewed_and_stays_fenced(store: Store) -> None:
    email = one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    store.fence({email.id: claim.token}, now=now, lease=LEASE)
    store.renew({email.id: claim.token}, now=now + SECOND, lease=LEASE)
    recovered(store, now + HOUR)
    found = store.get(email.account, email.id)
    assert found
    assert found.life.possible_duplicate
