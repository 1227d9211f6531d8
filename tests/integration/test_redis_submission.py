"""Submissions in Redis: one transaction for a group, carried out only while nobody else uses its keys."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from postroom.errors import KeyBusy
from postroom.store.base import Added, KeyReused
from postroom.store.redis import RedisStore
from postroom.store.redis.submission import TRIES
from tests import make
from tests.make import HOUR, SECOND
from tests.servers.link import Link
from tests.servers.redis import RedisServer, Start

TRANSACTION = b"MULTI"


@pytest.fixture
def server(start_redis: Start) -> RedisServer:
    return start_redis()


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    store = RedisStore(server.url)
    yield store
    store.close()


@pytest.fixture
def link(server: RedisServer) -> Iterator[Link]:
    with closing(Link(server.port)) as link:
        yield link


@pytest.fixture
def far_store(link: Link) -> Iterator[RedisStore]:
    """The store of another process, which reaches the server over the link."""
    with closing(RedisStore(f"redis://127.0.0.1:{link.port}/0")) as store:
        yield store


@pytest.mark.parametrize(("fingerprint", "replayed"), [("f1", True), ("f2", False)])
def test_key_that_another_process_uses_meanwhile_counts(
    link: Link, far_store: RedisStore, store: RedisStore, fingerprint: str, replayed: bool
) -> None:
    now = far_store.clock()
    key, theirs = (make.idempotency_key(now + HOUR, fingerprint=text) for text in ("f1", fingerprint))
    first = make.submission(key=theirs, answer="theirs")
    link.before(TRANSACTION, lambda _: store.add([first], now=now, wake_up_at=now))
    mine = [make.submission(make.email(now), key=key, answer="mine"), make.submission(make.email(now), answer="apart")]
    earlier = Added(answer="theirs", replayed=True) if replayed else KeyReused()
    assert far_store.add(mine, now=now, wake_up_at=now) == [earlier, Added(answer="apart", replayed=False)]
    assert sum(store.counts().values()) == 2
    assert store.get(make.ACCOUNT, mine[0].emails[0].id) is None


def test_keys_that_change_all_the_time_are_told(server: RedisServer, link: Link, far_store: RedisStore) -> None:
    now = far_store.clock()
    submission = make.submission(key=make.idempotency_key(now + HOUR))
    tries: list[bytes] = []

    def meddle(request: bytes) -> None:
        tries.append(request)
        [name] = set(re.findall(rb"postroom:idempotency:[^\r]+", request))
        server.ask("SET", name.decode(), f"{now.timestamp():.0f}\0other\0answer")  # expired long ago

    link.before(TRANSACTION, meddle)
    with pytest.raises(KeyBusy, match="used by others"):
        far_store.add([submission], now=now, wake_up_at=now)
    assert len(tries) == TRIES
    assert server.keys("postroom:listed:*") == []


def test_replayed_submission_leaves_nothing_of_its_own(server: RedisServer, store: RedisStore) -> None:
    now = store.clock()
    key = make.idempotency_key(now + HOUR)
    for _ in range(2):
        email = make.email(now, attachments=(make.attachment(b"content"),))
        store.add([make.submission(email, key=key)], now=now, wake_up_at=now + SECOND)
    assert [server.ask("HLEN", f"postroom:{name}") for name in ("submitted", "bodies", "lives", "states")] == [1] * 4
    assert len(server.keys("postroom:attachments:*")) == 1
