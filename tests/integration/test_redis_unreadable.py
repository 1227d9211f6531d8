"""Emails in Redis that cannot be read stay where they are, and out of the way of those behind them in an index."""

from collections.abc import Callable, Iterator

import pytest

from postroom.mail.email import Email, Status
from postroom.store.redis import RedisStore, records, taking
from postroom.store.redis.doubts import Doubts
from postroom.store.redis.records import LIVES
from postroom.store.taking import Taking
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND, found

MANY = 120  # rows, of which one look goes through 50


@pytest.fixture
def store(empty_redis: Callable[[], str]) -> Iterator[RedisStore]:
    store = RedisStore(empty_redis())
    yield store
    store.close()


def damage(store: RedisStore, *emails: Email) -> None:
    with store._connections.session(writing=True) as session:
        session.write(("HSET", LIVES, *[text for email in emails for text in (email.id, "no JSON")]), durable=False)


def stored(store: RedisStore, count: int) -> list[Email]:
    now = store.clock()
    return make.stored(store, now, *(make.email(now) for _ in range(count)))


def test_finished_ones_do_not_keep_others_from_being_deleted(store: RedisStore) -> None:
    *damaged, last = stored(store, MANY + 1)
    now = store.clock()
    for i, email in enumerate((*damaged, last)):
        store.cancel(ACCOUNT, email.id, now=now + i * SECOND)
    damage(store, *damaged)
    before = now + HOUR
    assert store.prune(1000, now=before, finished_before=before) == 1
    assert store.get(ACCOUNT, last.id) is None
    assert store.counts()[Status.CANCELED] == MANY


def test_claims_of_many_that_each_lapsed_by_itself_keep_no_other_from_being_recovered(store: RedisStore) -> None:
    *damaged, last = stored(store, MANY + 1)
    now = store.clock()
    for i, email in enumerate((*damaged, last)):
        make.claimed(store, now + i * SECOND, email)
    damage(store, *damaged)
    assert store.recover(10, now=now + HOUR, doubt_delay=SECOND) == 1
    assert found(store, last).life.status is Status.QUEUED


def test_those_in_one_row_with_a_damaged_one_are_recovered(store: RedisStore) -> None:
    damaged, *sound = stored(store, 30)
    now = store.clock()
    make.claimed(store, now, damaged, *sound)
    damage(store, damaged)
    assert store.recover(10, now=now + LEASE, doubt_delay=SECOND) == 10
    assert store.recover(100, now=now + LEASE, doubt_delay=SECOND) == 19


def test_claim_in_doubt_is_given_back_though_its_email_cannot_be_read(store: RedisStore) -> None:
    damaged, sound = stored(store, 2)
    now = store.clock()
    mine, doubts = Taking(worker="w", now=now, lease=LEASE), Doubts()
    with store._connections.session(writing=True) as session:
        taking._mark(session, [damaged.id, sound.id], 0, mine)
        damage(store, damaged)
        doubts.add(mine)
        doubts.give_back(session, now=now)
    assert found(store, sound).life == sound.life
    assert store.counts()[Status.SENDING] == 0
    due = [claim.email.id for claim in store.claim_due(10, worker="w", now=now, lease=LEASE)]
    assert due == [sound.id]


def test_terms_from_a_record_are_those_from_its_email() -> None:
    email = make.email(to=("Anna@example.com", "b@example.com"), tags=(("kind", "a"),), subject="Straße")
    life = records.life_arguments(email.id, "", email.life)[-1]
    assert isinstance(life, bytes)
    record = records.Record(email.id.encode(), None, b"", life, records.submitted_json(email))
    assert sorted(records.terms_of(record)) == sorted(records.terms(email))
