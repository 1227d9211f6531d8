"""kill -9 of Redis in the middle of a load: whatever was acknowledged is there afterwards, and the books balance."""

import threading
from collections.abc import Callable, Iterator

import pytest

from postroom.errors import StoreError, StoreUnavailable
from postroom.mail.email import Lane, Status
from postroom.store.redis import RedisStore
from tests import make
from tests.make import LEASE, SECOND
from tests.promises import adding, claiming_what_is_due
from tests.servers.redis import RedisServer, Start

PATIENCE_SECONDS = 30.0


class Load:
    """Threads that work on a store until they are stopped, and what they were promised."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.accepted: list[str] = []
        self.sent: set[str] = set()
        self.errors = 0
        self._stop = threading.Event()
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, args=(step,)) for step in (self._add, self._add, self._send)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def wait_for_more(self, count: int) -> None:
        """Returns when as many more emails were accepted, and one more was sent."""
        accepted, sent = len(self.accepted) + count, len(self.sent) + 1
        with self._news:
            arrived = self._news.wait_for(
                lambda: len(self.accepted) >= accepted and len(self.sent) >= sent, PATIENCE_SECONDS
            )
        assert arrived

    def _run(self, step: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                step()
            except StoreError:
                self.errors += 1
                self._stop.wait(0.02)
            with self._news:
                self._news.notify_all()

    def _add(self) -> None:
        now = self.store.clock()
        emails = [make.email(now) for _ in range(7)]
        self.store.add([make.submission(e) for e in emails], now=now, wake_up_at=now + 15 * SECOND)
        self.accepted += [e.id for e in emails]

    def _send(self) -> None:
        now = self.store.clock()
        claims = self.store.claim_due(20, worker="w1", now=now, lease=LEASE)
        self.store.fence({claim.email.id: claim.token for claim in claims}, now=now, lease=LEASE)
        self.sent |= self.store.settle([make.sent(claim, now) for claim in claims], now=now)


@pytest.fixture
def server(start_redis: Start) -> RedisServer:
    return start_redis()


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    store = RedisStore(server.url)
    yield store
    store.close()


def test_nothing_acknowledged_is_lost_when_redis_is_killed(server: RedisServer, store: RedisStore) -> None:
    with Load(store) as load:
        for _ in range(4):
            load.wait_for_more(70)
            server.kill()
            server.start()
        load.wait_for_more(70)
    kept = {e.id: e.life.status for one in load.accepted if (e := store.get(make.ACCOUNT, one)) is not None}
    assert set(load.accepted) - kept.keys() == set()
    assert {kept[email_id] for email_id in load.sent & kept.keys()} == {Status.SENT}
    assert load.errors > 0
    assert sum(store.counts().values()) == server.ask("HLEN", "postroom:states")
    waiting = sum(server.ask("ZCARD", f"postroom:due:{lane}") for lane in Lane)
    assert store.backlog() == waiting + server.ask("HLEN", "postroom:claims")


def test_key_whose_creation_was_acknowledged_survives(server: RedisServer, store: RedisStore) -> None:
    key = make.api_key()
    store.add_key(key)
    server.restart()
    assert store.find_key(key.id) == key
    now = store.clock()
    assert store.revoke_key(key.id, now=now)
    server.restart()
    found = store.find_key(key.id)
    assert found is not None
    assert found.revoked_at == now


def test_clock_follows_the_server_and_not_this_host(server: RedisServer, store: RedisStore) -> None:
    seconds, microseconds = server.ask("TIME")
    assert abs(store.clock().timestamp() - (seconds + microseconds / 1_000_000)) < 0.5
    assert store.clock().microsecond % 1000 == 0


def test_server_that_syncs_once_a_second_is_waited_for_or_refused(server: RedisServer) -> None:
    """Which of the two depends on whether it knows WAITAOF, from 7.2 on; test_redis_promises.py plays one that does."""
    server.ask("CONFIG", "SET", "appendfsync", "everysec")
    other = RedisStore(server.url)
    if server.ask("COMMAND LIST", "FILTERBY", "PATTERN", "waitaof"):
        assert _waited(server, adding(other))
        assert not _waited(server, claiming_what_is_due(other))
    else:
        with pytest.raises(StoreUnavailable, match="appendfsync always"):
            other.ping()
    other.close()


def _waited(server: RedisServer, step: Callable[[], object]) -> bool:
    """Whether the step waited for the disk."""
    before = _waits(server)
    step()
    return _waits(server) > before


def _waits(server: RedisServer) -> int:
    return int(server.ask("INFO", "commandstats").get("cmdstat_waitaof", {"calls": 0})["calls"])
