"""Listings from Redis, whichever index leads to them, against the plain answer: look at every email."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from postroom.mail.email import Email, Status
from postroom.store.base import Query
from postroom.store.redis import RedisStore
from tests import make
from tests.make import LEASE, SECOND
from tests.servers.redis import Start

EMAILS = 600  # more than are read in one step
STATUSES = [Status.QUEUED, Status.SENDING, Status.CANCELED, Status.SENT]
SUBJECTS = ["Rechnung 1", "rechnung 2", "Straße", "STRASSE", "Willkommen", "Willkommen " * 12, "", "Ω"]


@pytest.fixture(scope="module")
def at() -> datetime:
    return make.now()


@pytest.fixture
def store(start_redis: Start) -> Iterator[RedisStore]:
    store = RedisStore(start_redis(appendonly="no").url, durability="relaxed")
    yield store
    store.close()


def emails(at: datetime, dice: random.Random) -> list[Email]:
    """Many that have much in common."""
    return [
        make.email(
            at + serial // 10 * SECOND,
            account="other" if dice.random() < 0.1 else make.ACCOUNT,
            to=dice.sample(["anna@example.com", "ben@example.com", "rare@example.com"], 2 if serial % 50 == 0 else 1),
            subject=dice.choices(SUBJECTS, [9, 9, 1, 1, 30, 5, 5, 1])[0],
            tags=(("campaign", dice.choice("xy")),) if dice.random() < 0.5 else (),
        )
        for serial in range(EMAILS)
    ]


def query(at: datetime, dice: random.Random) -> Query:
    """Some wishes, or none."""

    def sometimes(value: Any) -> Any:
        return value if dice.random() < 0.4 else None

    moments = sorted(at + dice.randint(-1, EMAILS // 10) * SECOND for _ in range(2))
    return Query(
        account=make.ACCOUNT,
        limit=dice.choice([1, 7, 100]),
        status=sometimes(dice.sample(STATUSES, dice.randint(1, 2))) or (),
        to=sometimes(dice.choice(["Anna@Example.com", "rare@example.com", "nobody@example.com"])),
        subject=sometimes(dice.choice(["rechnung", "RECHNUNG 2", "strasse", "w", "Willkommen " * 10, "unknown"])),
        tag=sometimes(dice.choice(["campaign", "campaign:x", "campaign:z", "x"])),
        created_after=sometimes(moments[0]),
        created_before=sometimes(moments[1]),
    )


def fulfils(email: Email, query: Query) -> bool:
    """Whether an email is what the query asks for."""
    tags = {name for name, _ in email.tags} | {f"{name}:{value}" for name, value in email.tags}
    return (
        email.account == query.account
        and (not query.status or email.life.status in query.status)
        and (not query.to or query.to.casefold() in {r.address for r in email.life.recipients})
        and (not query.subject or email.subject.casefold().startswith(query.subject.casefold()))
        and (not query.tag or query.tag in tags)
        and (not query.created_after or email.created_at >= query.created_after)
        and (not query.created_before or email.created_at < query.created_before)
    )


def pages(store: RedisStore, query: Query) -> list[str]:
    """The ids of all pages from the newest to the oldest."""
    ids: list[str] = []
    while True:
        page = store.list(query)
        ids += [email.id for email in page.emails]
        if not page.has_more:
            return ids
        query = replace(query, after=ids[-1])


def pages_back(store: RedisStore, query: Query, oldest: str) -> list[str]:
    """The ids that are newer than this one, read page by page towards the newest."""
    ids = [oldest]
    while True:
        page = store.list(replace(query, before=ids[0]))
        ids = [email.id for email in page.emails] + ids
        if not page.has_more:
            return ids


@pytest.mark.parametrize("seed", range(3))
def test_every_query_finds_what_looking_at_every_email_finds(store: RedisStore, at: datetime, seed: int) -> None:
    dice = random.Random(seed)
    stored = make.stored(store, at, *emails(at, dice))
    for email in dice.sample(stored, 40):
        store.cancel(email.account, email.id, now=at + EMAILS * SECOND)
    store.claim([email.id for email in dice.sample(stored, 100)], worker="w1", now=at + EMAILS * SECOND, lease=LEASE)
    now_is = {e.id: e for old in stored if (e := store.get(old.account, old.id)) is not None}
    for _ in range(25):
        wish = query(at, dice)
        expected = sorted((e.id for e in now_is.values() if fulfils(e, wish)), reverse=True)
        wish = wish if len(expected) < 50 else replace(wish, limit=100)
        assert pages(store, wish) == expected, wish
        if expected:
            assert pages_back(store, wish, expected[-1]) == expected, wish
