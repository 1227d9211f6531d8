"""What RedisStore promises is on disk when it returns, with a Redis that writes once a second and can be waited for."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from postroom.errors import StoreError
from postroom.store.redis import RedisStore
from postroom.store.redis.session import DISK_MILLISECONDS
from tests import make, promises
from tests.make import ACCOUNT, HOUR, SECOND
from tests.promises import DECIDED, PROMISED, QUICK, Prepare
from tests.servers import newer_redis
from tests.servers.newer_redis import NewerRedis
from tests.servers.redis import Start

WAIT = (b"WAITAOF", b"1", b"0", str(DISK_MILLISECONDS).encode())


@pytest.fixture
def server(start_redis: Start) -> Iterator[NewerRedis]:
    with newer_redis.played(start_redis(appendfsync="everysec").port) as server:
        yield server


@pytest.fixture
def store(server: NewerRedis) -> Iterator[RedisStore]:
    with closing(RedisStore(server.url)) as store:
        yield store


def said(server: NewerRedis, step: Callable[[], object]) -> list[tuple[bytes, ...]]:
    """What is said to Redis during this step."""
    server.said.clear()
    step()
    return list(server.said)


@pytest.mark.parametrize("prepare", [*PROMISED.values(), *DECIDED.values()], ids=[*PROMISED, *DECIDED])
def test_promise_is_given_when_it_is_on_disk(server: NewerRedis, store: RedisStore, prepare: Prepare) -> None:
    for _ in range(2):  # the first time, Redis does not know the script yet
        assert said(server, prepare(store))[-1] == WAIT


def test_replayed_answer_is_given_when_what_it_promises_is_on_disk(server: NewerRedis, store: RedisStore) -> None:
    now = store.clock()
    key = make.idempotency_key(now + HOUR)
    submission = make.submission(key=key)
    store.add([submission], now=now, wake_up_at=now)
    again = make.submission(key=key)
    assert said(server, lambda: store.add([again], now=now, wake_up_at=now))[-1] == WAIT
    assert said(server, lambda: store.replay(ACCOUNT, key, now=now))[-1] == WAIT


def test_scheduled_email_that_has_come_due_is_on_disk_as_queued(server: NewerRedis, store: RedisStore) -> None:
    now = store.clock()
    make.stored(store, now, make.scheduled(now, now + HOUR))
    later = now + HOUR
    assert said(server, lambda: store.due(1, now=later, wake_up_again_at=later + SECOND))[-1] == WAIT


@pytest.mark.parametrize("prepare", QUICK.values(), ids=QUICK)
def test_what_a_crash_may_forget_waits_for_no_disk(server: NewerRedis, store: RedisStore, prepare: Prepare) -> None:
    assert WAIT not in said(server, prepare(store))


def test_nothing_waits_for_the_disk_where_losses_are_accepted(server: NewerRedis) -> None:
    with closing(RedisStore(server.url, durability="relaxed")) as store:
        assert WAIT not in said(server, promises.adding(store))


@pytest.mark.parametrize("on_disk", [0, None])
def test_promise_is_not_given_when_the_disk_does_not_confirm(
    server: NewerRedis, store: RedisStore, on_disk: int | None
) -> None:
    step = promises.adding(store)
    server.on_disk = on_disk
    with pytest.raises(StoreError, match="disk"):
        step()
