"""The verbs of a store: those whose effect must outlive any crash once they return, and those that are quick instead.

Each function brings a store to where its verb has something to do, and returns what does it.
"""

import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta

from postroom.store.base import Claim, Store
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND

Prepare = Callable[[Store], Callable[[], object]]


def _claimed(store: Store) -> Claim:
    [claim] = make.claimed(store, now := store.clock(), make.one(store, now))
    return claim


def _lapsed(store: Store) -> Claim:
    """A fenced claim that was recovered."""
    claim, now = _claimed(store), store.clock()
    store.fence({claim.email.id: claim.token}, now=now, lease=LEASE)
    assert store.recover(1, now=now + HOUR, doubt_delay=timedelta(0)) == 1
    return claim


def adding(store: Store) -> Callable[[], object]:
    now = store.clock()
    submission = make.submission(make.email(now), key=make.idempotency_key(now + HOUR))
    return lambda: store.add([submission], now=now, wake_up_at=now)


def fencing(store: Store) -> Callable[[], object]:
    claim, now = _claimed(store), store.clock()
    return lambda: store.fence({claim.email.id: claim.token}, now=now, lease=LEASE)


def settling(store: Store) -> Callable[[], object]:
    claim, now = _claimed(store), store.clock()
    return lambda: store.settle([make.sent(claim, now)], now=now)


def settling_late(store: Store) -> Callable[[], object]:
    claim, now = _lapsed(store), store.clock()
    return lambda: store.settle_late([make.sent(claim, now)], now=now)


def cancelling(store: Store) -> Callable[[], object]:
    email, now = make.one(store), store.clock()
    return lambda: store.cancel(ACCOUNT, email.id, now=now)


def rescheduling(store: Store) -> Callable[[], object]:
    now = store.clock()
    [email] = make.stored(store, now, make.scheduled(now, now + HOUR))
    return lambda: store.reschedule(ACCOUNT, email.id, now + 2 * HOUR, now=now)


def retrying(store: Store) -> Callable[[], object]:
    email, now = make.one(store), store.clock()
    store.cancel(ACCOUNT, email.id, now=now)
    return lambda: store.retry(ACCOUNT, email.id, now=now, max_age=HOUR, wake_up_at=now)


def adding_a_key(store: Store) -> Callable[[], object]:
    store.clock()
    return lambda: store.add_key(make.api_key(uuid.uuid4().hex))


def revoking_a_key(store: Store) -> Callable[[], object]:
    key, now = make.api_key(uuid.uuid4().hex), store.clock()
    store.add_key(key)
    return lambda: store.revoke_key(key.id, now=now)


def pinging(store: Store) -> Callable[[], object]:
    store.clock()
    return store.ping


def recovering(store: Store) -> Callable[[], object]:
    _claimed(store)
    now = store.clock() + HOUR
    return lambda: store.recover(1, now=now, doubt_delay=timedelta(0))


def expiring(store: Store) -> Callable[[], object]:
    email, now = make.one(store), store.clock()
    return lambda: store.expire(1, now=max(email.life.expires_at, now))


def claiming(store: Store) -> Callable[[], object]:
    email, now = make.one(store), store.clock()
    return lambda: store.claim([email.id], worker="w1", now=now, lease=LEASE)


def claiming_what_is_due(store: Store) -> Callable[[], object]:
    make.one(store)
    now = store.clock()
    return lambda: store.claim_due(1, worker="w1", now=now, lease=LEASE)


def renewing(store: Store) -> Callable[[], object]:
    claim, now = _claimed(store), store.clock()
    return lambda: store.renew({claim.email.id: claim.token}, now=now, lease=HOUR)


def publishing(store: Store) -> Callable[[], object]:
    make.one(store)
    now = store.clock() + HOUR
    return lambda: store.due(1, now=now, wake_up_again_at=now + SECOND)


def _by_name(*prepares: Prepare) -> Mapping[str, Prepare]:
    return {prepare.__name__: prepare for prepare in prepares}


PROMISED = _by_name(
    *(adding, fencing, settling, settling_late, cancelling, rescheduling, retrying),
    *(adding_a_key, revoking_a_key, pinging),
)
DECIDED = _by_name(recovering, expiring)  # by the sweep: an email's next life is promised, the rest is done anew
QUICK = _by_name(claiming, claiming_what_is_due, renewing, publishing)
