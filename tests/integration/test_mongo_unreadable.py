"""MongoDB: a document with a damaged member that steps compute with is passed over, and harms no other."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from postroom.errors import Unreadable
from postroom.mail.email import Status
from postroom.store.mongo import MongoStore
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND

DAMAGES = {
    "attempts gone": {"$unset": {"attempts": ""}},
    "attempts no number": {"$set": {"attempts": "many"}},
    "revision gone": {"$unset": {"revision": ""}},
    "revision no number": {"$set": {"revision": "second"}},
    "body size no number": {"$set": {"body_size": "large"}},
    "status gone": {"$unset": {"status": ""}},
    "deadline gone": {"$unset": {"expires_at": ""}},
    "deadline no time": {"$set": {"expires_at": "tomorrow"}},
    "next attempt gone": {"$unset": {"next_attempt_at": ""}},
}


@pytest.fixture
def store(mongodb_url: str) -> Iterator[MongoStore]:
    store = MongoStore(mongodb_url)
    yield store
    store.close()


@pytest.fixture(params=DAMAGES.values(), ids=DAMAGES.keys())
def damage(request: pytest.FixtureRequest) -> Any:
    return request.param


def damaged_and_sound(
    store: MongoStore, mongodb_url: str, damage: Any, *, scheduled_in: timedelta | None = None
) -> tuple[str, str]:
    """Two emails that are due, or will be; the first is damaged."""
    now = store.clock()
    emails = [make.email(now - 9 * SECOND), make.email(now - SECOND)]
    if scheduled_in:
        emails = [make.scheduled(now, now + scheduled_in), make.scheduled(now, now + scheduled_in + SECOND)]
    damaged, sound = make.stored(store, now, *emails)
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        client.get_default_database()["emails"].update_one({"_id": damaged.id}, damage)
    return damaged.id, sound.id


def test_others_are_claimed(store: MongoStore, mongodb_url: str, damage: Any) -> None:
    damaged, sound = damaged_and_sound(store, mongodb_url, damage)
    claims = store.claim([damaged, sound], worker="w", now=store.clock(), lease=LEASE)
    assert sound in [claim.email.id for claim in claims]


def test_others_are_claimed_when_they_are_due(store: MongoStore, mongodb_url: str, damage: Any) -> None:
    _, sound = damaged_and_sound(store, mongodb_url, damage)
    claims = [store.claim_due(1, worker="w", now=store.clock(), lease=LEASE) for _ in range(2)]
    assert sound in [claim.email.id for some in claims for claim in some]


def test_others_are_published(store: MongoStore, mongodb_url: str, damage: Any) -> None:
    _, sound = damaged_and_sound(store, mongodb_url, damage)
    now = store.clock() + HOUR
    published = store.due(10, now=now, wake_up_again_at=now + HOUR)
    assert sound in [email_id for ids in published.values() for email_id in ids]


@pytest.mark.parametrize("scheduled_in", [None, SECOND], ids=["at once", "scheduled"])
def test_others_are_published_behind_it(
    store: MongoStore, mongodb_url: str, damage: Any, scheduled_in: timedelta | None
) -> None:
    _, sound = damaged_and_sound(store, mongodb_url, damage, scheduled_in=scheduled_in)
    now = store.clock() + HOUR
    looks = [store.due(1, now=now, wake_up_again_at=now + HOUR) for _ in range(3)]
    assert sound in [email_id for found in looks for ids in found.values() for email_id in ids]
    assert looks[-1] == {}


def test_it_still_waits_after_its_schedule_has_come(store: MongoStore, mongodb_url: str) -> None:
    damaged, _ = damaged_and_sound(store, mongodb_url, DAMAGES["next attempt gone"], scheduled_in=SECOND)
    now = store.clock() + HOUR
    store.due(9, now=now, wake_up_again_at=now + HOUR)
    assert damaged in [claim.email.id for claim in store.claim_due(9, worker="w", now=now, lease=LEASE)]


def test_others_are_recovered_and_expire(store: MongoStore, mongodb_url: str, damage: Any) -> None:
    now = store.clock()
    damaged, sound, held = make.stored(store, now, *(make.email(now) for _ in range(3)))
    make.claimed(store, now, damaged, sound)
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        client.get_default_database()["emails"].update_many({"_id": {"$in": [damaged.id, held.id]}}, damage)
    store.recover(10, now=now + HOUR, doubt_delay=SECOND)
    assert status(store, sound.id) is Status.QUEUED
    store.expire(10, now=now + 1000 * HOUR)
    assert status(store, sound.id) is Status.FAILED


@pytest.mark.parametrize("damage", [{"$unset": {"revision": ""}}, {"$set": {"schema": "next"}}], ids=str)
def test_who_asks_for_it_alone_is_told(store: MongoStore, mongodb_url: str, damage: Any) -> None:
    damaged, _ = damaged_and_sound(store, mongodb_url, damage)
    with pytest.raises(Unreadable):
        store.cancel(ACCOUNT, damaged, now=store.clock())


@pytest.mark.parametrize(
    ("collection", "damage"),
    [
        ("emails", {"$unset": {"lease": ""}}),
        ("emails", {"$set": {"lease": ["none"]}}),
        ("leases", {"$unset": {"emails": ""}}),
        ("leases", {"$set": {"emails": "none"}}),
        ("leases", {"$set": {"until": "later"}}),
        ("leases", {"$set": {"revision": "second"}}),
        ("leases", {"$unset": {"worker": ""}}),
        ("leases", {"$set": {"apart": 1}}),
    ],
    ids=str,
)
def test_others_are_recovered_where_a_claim_is_damaged(mongodb_url: str, collection: str, damage: Any) -> None:
    with closing(MongoStore(mongodb_url, lost_seconds=0)) as store:
        now = store.clock()
        damaged, sound = make.stored(store, now, *(make.email(now) for _ in range(2)))
        claims = [make.claimed(store, now, email)[0] for email in (damaged, sound)]
        damaged_id = claims[0].token if collection == "leases" else damaged.id
        with MongoClient[dict[str, Any]](mongodb_url) as client:
            assert client.get_default_database()[collection].update_one({"_id": damaged_id}, damage).modified_count
        for _ in range(2):
            store.recover(1, now=now + HOUR, doubt_delay=SECOND)
        assert status(store, sound.id) is Status.QUEUED


def status(store: MongoStore, email_id: str) -> Status:
    found = store.get(ACCOUNT, email_id)
    assert found
    return found.life.status
