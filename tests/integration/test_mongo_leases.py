"""Leases in MongoDB are documents of their own: whatever is cut off between two writes, no claim falls in between."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from postroom.errors import StoreError
from postroom.mail.email import Status
from postroom.store.base import Claim
from postroom.store.mongo import MongoStore
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND
from tests.servers.link import Link
from tests.servers.mongodb import MongoDB

Document = dict[str, Any]


@pytest.fixture
def store(mongodb_url: str) -> Iterator[MongoStore]:
    store = MongoStore(mongodb_url, lost_seconds=0)
    yield store
    store.close()


@pytest.fixture
def other(mongodb_url: str) -> Iterator[MongoStore]:
    """The store as another process sees it."""
    store = MongoStore(mongodb_url)
    yield store
    store.close()


@pytest.fixture
def link(mongodb: MongoDB) -> Iterator[Link]:
    with closing(Link(mongodb.port)) as link:
        yield link


@pytest.fixture
def far_store(link: Link, database: Database[Document]) -> Iterator[MongoStore]:
    """The store of a process that reaches the server over the link."""
    store = MongoStore(f"mongodb://127.0.0.1:{link.port}/{database.name}?directConnection=true")
    store.ping()
    yield store
    store.close()


@pytest.fixture
def database(mongodb_url: str) -> Iterator[Database[Document]]:
    with MongoClient[Document](mongodb_url, tz_aware=True) as client:
        yield client.get_default_database()


def claimed(store: MongoStore, count: int) -> list[Claim]:
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now) for _ in range(count)))
    return make.claimed(store, now, *emails)


def status_of(store: MongoStore, email_id: str) -> Status:
    found = store.get(ACCOUNT, email_id)
    assert found
    return found.life.status


def status(store: MongoStore, claim: Claim) -> Status:
    return status_of(store, claim.email.id)


def tokens(*claims: Claim) -> dict[str, str]:
    return {claim.email.id: claim.token for claim in claims}


def recovered(store: MongoStore, after: timedelta) -> int:
    return store.recover(100, now=store.clock() + after, doubt_delay=SECOND)


def test_emails_of_one_call_share_a_lease_that_people_can_read(store: MongoStore, database: Database[Document]) -> None:
    claims = claimed(store, 3)
    [lease] = database["leases"].find()
    assert lease["worker"] == "w1"
    assert lease["emails"] == [claim.email.id for claim in claims]
    assert {d["lease"] for d in database["emails"].find()} == {lease["_id"]} == {claim.token for claim in claims}


def test_leases_that_no_email_names_are_deleted_in_time(store: MongoStore, database: Database[Document]) -> None:
    some, others = claimed(store, 2), claimed(store, 2)
    now = store.clock()
    store.settle([make.sent(claim, now) for claim in (*some, others[0])], now=now)
    assert recovered(store, LEASE - SECOND) == 0
    assert database["leases"].count_documents({}) == 2
    assert recovered(store, LEASE + SECOND) == 1
    assert database["leases"].count_documents({}) == 0


def test_each_email_of_a_lease_lapses_by_its_own_term(store: MongoStore) -> None:
    fenced, renewed, _ = claims = claimed(store, 3)
    now = store.clock()
    store.fence(tokens(fenced), now=now, lease=HOUR)
    store.renew(tokens(renewed), now=now, lease=2 * LEASE)
    assert [recovered(store, after) for after in (LEASE + SECOND, 2 * LEASE + SECOND, HOUR + SECOND)] == [1, 1, 1]
    found = [store.get(ACCOUNT, claim.email.id) for claim in claims]
    assert [email.life.possible_duplicate for email in found if email] == [True, False, False]


def test_fence_of_a_process_that_did_not_settle_it_knows_what_was_recovered(
    store: MongoStore, other: MongoStore
) -> None:
    [claim] = claimed(store, 1)
    assert recovered(other, LEASE + SECOND) == 1
    assert store.fence(tokens(claim), now=store.clock(), lease=HOUR) == set()


def test_claim_barred_by_a_sweep_that_died_is_recovered_by_the_next(
    store: MongoStore, database: Database[Document]
) -> None:
    dying, living = claimed(store, 2)
    now = store.clock()
    barred = [{"until": now, "fenced": True, "emails": [dying.email.id]}]
    change = {"$set": {"emails": [living.email.id], "lapsed": barred, "look_at": now}, "$inc": {"revision": 1}}
    database["leases"].update_one({"_id": dying.token}, change)
    assert store.fence(tokens(dying, living), now=now, lease=HOUR) == {living.email.id}
    assert recovered(store, SECOND) == 1
    assert (status(store, dying), status(store, living)) == (Status.QUEUED, Status.SENDING)
    assert store.settle([make.sent(living, now), make.sent(dying, now)], now=now) == {living.email.id}


def test_email_whose_holder_settles_while_a_sweep_bars_it_is_not_recovered(
    store: MongoStore, database: Database[Document]
) -> None:
    [claim] = claimed(store, 1)
    now = store.clock()
    barred = [{"until": now, "fenced": False, "emails": [claim.email.id]}]
    database["leases"].update_one(
        {}, {"$set": {"emails": [], "lapsed": barred, "look_at": now}, "$inc": {"revision": 1}}
    )
    assert store.settle([make.sent(claim, now)], now=now) == {claim.email.id}
    assert recovered(store, SECOND) == 0
    assert status(store, claim) is Status.SENT
    assert database["leases"].count_documents({}) == 0


def test_claim_whose_lease_is_missing_cannot_be_fenced_and_goes_back_unspent(
    store: MongoStore, database: Database[Document]
) -> None:
    """So it is left when a worker dies between claiming and its lease, or the server forgets the lease in a crash."""
    [claim], [neighbour] = claimed(store, 1), claimed(store, 1)
    database["leases"].delete_one({"_id": claim.token})
    now = store.clock()
    assert store.fence(tokens(claim), now=now, lease=HOUR) == set()
    assert recovered(store, SECOND) == 0  # its worker may just be about to be granted it
    assert recovered(store, 11 * SECOND) == 1
    assert (status(store, claim), status(store, neighbour)) == (Status.QUEUED, Status.SENDING)
    found = store.get(ACCOUNT, claim.email.id)
    assert found
    assert (found.life.attempts, found.life.crash_count) == (0, 0)
    assert found.life.timeline[-1].event == "handed_back"


def test_emails_are_claimed_before_their_lease_stands(far_store: MongoStore, store: MongoStore, link: Link) -> None:
    """A server that forgets the end of its journal in a crash must not keep a lease and forget the claims."""
    [email] = make.stored(store, store.clock(), make.email(store.clock()))
    seen: list[Status] = []
    link.before(b"leases", lambda _: seen.append(status_of(store, email.id)))
    make.claimed(far_store, store.clock(), email)
    assert seen == [Status.SENDING]


def test_lease_that_comes_too_late_is_not_granted(
    far_store: MongoStore, store: MongoStore, link: Link, database: Database[Document]
) -> None:
    """Its worker was frozen between the claim and the lease, until a sweep took the claim for lost."""
    [email] = make.stored(store, store.clock(), make.email(store.clock()))
    swept: list[int] = []
    link.before(b"leases", lambda _: swept.append(recovered(store, 11 * SECOND)))
    assert far_store.claim([email.id], worker="w1", now=store.clock(), lease=LEASE) == []
    assert swept == [1]
    assert status_of(store, email.id) is Status.QUEUED
    assert recovered(store, timedelta(days=2)) == 0
    assert database["leases"].count_documents({}) == 0


def test_claim_is_given_back_when_its_lease_cannot_be_granted(
    far_store: MongoStore, store: MongoStore, link: Link
) -> None:
    [email] = make.stored(store, store.clock(), make.email(store.clock()))
    link.cut_after(b"leases", deliver=False, for_good=True)
    with pytest.raises(StoreError):
        far_store.claim([email.id], worker="w1", now=store.clock(), lease=LEASE)
    assert status_of(store, email.id) is Status.SENDING
    link.mend()
    assert far_store.claim_due(1, worker="w1", now=store.clock(), lease=LEASE)
    found = store.get(ACCOUNT, email.id)
    assert found
    assert (found.life.attempts, found.life.crash_count) == (1, 0)


def test_lease_of_a_newer_postroom_is_left_alone(store: MongoStore, database: Database[Document]) -> None:
    [claim] = claimed(store, 1)
    database["leases"].update_one({}, {"$set": {"schema": 99}})
    assert recovered(store, HOUR) == 0
    assert status(store, claim) is Status.SENDING


def test_claims_that_hold_longer_do_not_hide_one_that_lapsed(store: MongoStore) -> None:
    now = store.clock()
    fenced, lapsed = make.stored(store, now, make.email(now), make.email(now))
    [claim] = make.claimed(store, now, fenced)
    store.fence({fenced.id: claim.token}, now=now, lease=4 * LEASE)
    make.claimed(store, now + SECOND, lapsed)
    assert store.recover(1, now=now + LEASE + SECOND, doubt_delay=SECOND) == 1
    assert status_of(store, fenced.id) is Status.SENDING
