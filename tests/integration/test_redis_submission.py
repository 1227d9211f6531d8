"""Submissions in Redis: one transaction for a group, carried out only while nobody else uses its keys."""

from collections.abc import Iterator

import pytest

from postroom.errors import StoreUnavailable
from postroom.store.base import Added, KeyReused
from postroom.store.redis import RedisStore
from postroom.store.redis.submission import TRIES, Addition
from postroom.store.redis.talk import Talk
from tests import make
from tests.make import HOUR, SECOND
from tests.servers.redis import RedisServer, Start


@pytest.fixture
def server(start_redis: Start) -> RedisServer:
    return start_redis()


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    store = RedisStore(server.url)
    yield store
    store.close()


@pytest.fixture
def other(server: RedisServer) -> Iterator[RedisStore]:
    """The store of another process."""
    store = RedisStore(server.url)
    yield store
    store.close()


@pytest.mark.parametrize(("fingerprint", "replayed"), [("f1", True), ("f2", False)])
def test_key_that_another_process_uses_meanwhile_counts(
    store: RedisStore, other: RedisStore, monkeypatch: pytest.MonkeyPatch, fingerprint: str, replayed: bool
) -> None:
    now = store.clock()
    key, theirs = (make.idempotency_key(now + HOUR, fingerprint=text) for text in ("f1", fingerprint))
    carry_out = Addition.carry_out

    def interrupted(addition: Addition, talk: Talk) -> list[Added | KeyReused]:
        monkeypatch.undo()
        other.add([make.submission(key=theirs, answer="theirs")], now=now, wake_up_at=now)
        return carry_out(addition, talk)

    monkeypatch.setattr(Addition, "carry_out", interrupted)
    mine = [make.submission(make.email(now), key=key, answer="mine"), make.submission(make.email(now), answer="apart")]
    earlier = Added(answer="theirs", replayed=True) if replayed else KeyReused()
    assert store.add(mine, now=now, wake_up_at=now) == [earlier, Added(answer="apart", replayed=False)]
    assert sum(store.counts().values()) == 2
    assert store.get(make.ACCOUNT, mine[0].emails[0].id) is None


def test_keys_that_change_all_the_time_are_told(
    server: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = store.clock()
    submission = make.submission(key=make.idempotency_key(now + HOUR))
    ask_all, asked = Talk.ask_all, []

    def meddling(talk: Talk, commands: list[tuple[str, ...]]) -> list[object]:
        replies = ask_all(talk, commands)
        asked.extend(commands)
        for name in next((names for word, *names in commands if word == "WATCH"), []):
            server.ask("SET", name, f"{now.timestamp():.0f}\0other\0answer")  # expired long ago
        return replies

    monkeypatch.setattr(Talk, "ask_all", meddling)
    with pytest.raises(StoreUnavailable, match="used by others"):
        store.add([submission], now=now, wake_up_at=now)
    assert sum(word == "WATCH" for word, *_ in asked) == TRIES + 1
    assert server.keys("postroom:listed:*") == []


def test_replayed_submission_leaves_nothing_of_its_own(server: RedisServer, store: RedisStore) -> None:
    now = store.clock()
    key = make.idempotency_key(now + HOUR)
    for _ in range(2):
        email = make.email(now, attachments=(make.attachment(b"content"),))
        store.add([make.submission(email, key=key)], now=now, wake_up_at=now + SECOND)
    assert [server.ask("HLEN", f"postroom:{name}") for name in ("submitted", "bodies", "lives", "states")] == [1] * 4
    assert len(server.keys("postroom:attachments:*")) == 1
