"""A link to the store that is slow: what a worker claims it can also read, or it gives it back."""

import time
import uuid
from collections.abc import Iterator

import pytest

from postroom.errors import StoreError
from postroom.store.base import Claim, Store
from postroom.store.mongo import MongoStore
from postroom.store.redis import RedisStore
from tests import make
from tests.make import ACCOUNT, LEASE, SECOND
from tests.servers.link import Link

LIMIT_SECONDS = 3.5


@pytest.fixture(params=["mongo", "redis"])
def linked(request: pytest.FixtureRequest) -> Iterator[tuple[Link, Store]]:
    """A link, and a store that is reached over it."""
    store: MongoStore | RedisStore
    if request.param == "mongo":
        link = Link(request.getfixturevalue("own_mongodb").port)
        store = MongoStore(f"mongodb://127.0.0.1:{link.port}/slow_{uuid.uuid4().hex[:8]}?directConnection=true")
    else:
        link = Link(request.getfixturevalue("start_redis")().port)
        store = RedisStore(f"redis://127.0.0.1:{link.port}/0")
    store.ping()
    yield link, store
    store.close()
    link.close()


def test_claim_is_as_large_as_the_link_carries(linked: tuple[Link, Store]) -> None:
    link, store = linked
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now, html="x" * 700_000) for _ in range(5)))
    link.slow_down(1_000_000)
    claims: list[Claim] = []
    while len(claims) < len(emails):
        began = time.monotonic()
        more = store.claim_due(len(emails) - len(claims), worker="w1", now=now, lease=LEASE)
        assert more
        assert time.monotonic() - began < LIMIT_SECONDS
        claims += more
    assert [c.email.id for c in claims] == [e.id for e in emails]
    assert all(c.email.html == emails[0].html for c in claims)


def test_claim_of_several_names_leaves_the_rest_due(linked: tuple[Link, Store]) -> None:
    link, store = linked
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now, html="x" * 700_000) for _ in range(9)))
    link.slow_down(2_000_000)
    claims = store.claim([e.id for e in emails], worker="w1", now=now, lease=LEASE)
    assert 0 < len(claims) < len(emails)
    link.slow_down(None)
    rest = store.claim_due(100, worker="w1", now=now, lease=LEASE)
    assert [c.email.id for c in [*claims, *rest]] == [e.id for e in emails]


def test_email_that_cannot_be_read_in_time_is_given_back(linked: tuple[Link, Store]) -> None:
    link, store = linked
    now = store.clock()
    [email] = make.stored(store, now, make.email(now, html="x" * 4_000_000))
    before = store.counts()
    link.slow_down(1_000_000)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(StoreError):
            store.claim([email.id], worker="w1", now=now, lease=LEASE)
        assert time.monotonic() - began < LIMIT_SECONDS
    link.slow_down(None)
    assert store.counts() == before
    assert store.get(ACCOUNT, email.id) == email
    assert store.recover(10, now=now + LEASE, doubt_delay=SECOND) == 0
    [claim] = store.claim_due(10, worker="w1", now=now, lease=LEASE)
    assert (claim.email.html, claim.email.life.attempts) == (email.html, 1)
