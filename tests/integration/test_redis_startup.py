"""Which Redis the store accepts: a wrong setting is refused with one clear sentence, unless losses are accepted."""

import logging
from contextlib import closing, nullcontext

import pytest

from postroom import settings, wiring
from postroom.errors import StoreUnavailable
from postroom.store.redis import RedisStore
from tests import make
from tests.servers.redis import RedisServer, Start

LOSSES = {
    "appendonly": ("no", "appendonly yes"),
    "maxmemory-policy": ("allkeys-lru", "maxmemory-policy noeviction"),
    "appendfsync": ("no", "appendfsync always"),
    "no-appendfsync-on-rewrite": ("yes", "no-appendfsync-on-rewrite no"),
    "rename-command": ("CONFIG hidden", "CONFIG GET"),
}


def refusal(url: str) -> str:
    """The sentence with which the store refuses this Redis, whatever it is asked for."""
    store = RedisStore(url)
    with pytest.raises(StoreUnavailable) as refused:
        store.ping()
    store.close()
    sentence = str(refused.value)
    assert sentence.startswith("Redis at 127.0.0.1:")
    assert "\n" not in sentence
    return sentence


def has_waitaof(server: RedisServer) -> bool:
    """Whether this Redis can wait for its disk."""
    return bool(server.ask("COMMAND LIST", "FILTERBY", "PATTERN", "waitaof"))


@pytest.mark.parametrize("setting", LOSSES)
def test_server_that_may_lose_emails_is_refused(start_redis: Start, setting: str) -> None:
    value, remedy = LOSSES[setting]
    sentence = refusal(start_redis(**{setting: value}).url)
    assert remedy in sentence
    assert "POSTROOM_REDIS_DURABILITY=relaxed" in sentence


@pytest.mark.parametrize("setting", LOSSES)
def test_server_that_may_lose_emails_is_used_where_losses_are_accepted(
    start_redis: Start, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis(**{setting: LOSSES[setting][0]})
    with caplog.at_level(logging.WARNING):
        store = RedisStore(server.url, durability="relaxed")
    [email] = make.stored(store, store.clock(), make.email())
    assert store.get(email.account, email.id) == email
    store.close()
    assert [record.getMessage() for record in caplog.records] == ["store may lose emails"]


def test_setting_says_whether_losses_are_accepted(start_redis: Start) -> None:
    url = start_redis(appendonly="no").url
    for durability in ("strict", "relaxed"):
        loaded = settings.load({"POSTROOM_STORE_URL": url, "POSTROOM_REDIS_DURABILITY": durability})
        with closing(wiring.open_store(loaded)) as store:
            strict = pytest.raises(StoreUnavailable, match="appendonly yes")
            with strict if durability == "strict" else nullcontext():
                store.ping()


def test_fsync_every_second_is_refused_unless_the_server_can_wait_for_it(start_redis: Start) -> None:
    server = start_redis(appendfsync="everysec")
    if not has_waitaof(server):
        assert "appendfsync always" in refusal(server.url)
        return
    store = RedisStore(server.url)
    make.stored(store, store.clock(), make.email())
    store.close()
    assert server.ask("INFO", "commandstats")["cmdstat_waitaof"]["calls"] >= 1


def test_durable_server_is_accepted_without_a_word(start_redis: Start, caplog: pytest.LogCaptureFixture) -> None:
    RedisStore(start_redis().url).close()
    assert not caplog.records


def test_cluster_is_refused(start_redis: Start) -> None:
    assert "name a single server" in refusal(start_redis(cluster_enabled="yes").url)


def test_replica_is_refused(start_redis: Start) -> None:
    primary = start_redis()
    replica = start_redis(replicaof=f"127.0.0.1 {primary.port}")
    assert "read-only replica" in refusal(replica.url)


def test_database_of_a_newer_postroom_is_refused(start_redis: Start) -> None:
    server = start_redis()
    RedisStore(server.url).ping()
    layout = int(server.ask("GET", "postroom:layout"))
    server.ask("SET", "postroom:layout", layout + 1)
    assert "upgrade Postroom" in refusal(server.url)


def test_database_from_before_the_first_release_is_refused(start_redis: Start) -> None:
    server = start_redis()
    server.ask("SET", "postroom:layout", 1)
    assert "use an empty database" in refusal(server.url)


def test_wrong_password_is_refused_and_never_repeated(start_redis: Start) -> None:
    server = start_redis(requirepass="correct-horse")
    sentence = refusal(server.url.replace("correct-horse", "battery-staple"))
    assert "refuses our user or password" in sentence
    assert "battery" not in sentence
    assert "wants a password" in refusal(server.url.replace(":correct-horse@", ""))
    RedisStore(server.url).close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pass/word@host:6379",
        "http://:pass@host",
        "redis://:pass@host?colour=red",
        "redis://:pass@host/emails",
        "redis://:pass@host/1/2",
        "redis://:pass@host/-1",
    ],
)
def test_url_that_makes_no_sense_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="must be redis://") as refused:
        RedisStore(url)
    assert "pass@" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_server_that_is_down_at_the_start_is_used_when_it_comes(start_redis: Start) -> None:
    server = start_redis()
    server.kill()
    store = RedisStore(server.url)
    with pytest.raises(StoreUnavailable):
        store.clock()
    server.start()
    make.stored(store, store.clock(), make.email())
    store.close()


def test_server_that_comes_back_with_a_worse_configuration_is_refused(start_redis: Start) -> None:
    server = start_redis()
    store = RedisStore(server.url)
    make.stored(store, store.clock(), make.email())
    server.kill()
    server.settings["maxmemory-policy"] = "allkeys-lru"
    server.start()
    with pytest.raises(StoreUnavailable, match="noeviction"):
        store.add([make.submission()], now=store.clock(), wake_up_at=store.clock())
    store.close()


def test_server_that_still_loads_its_data_is_waited_for(start_redis: Start) -> None:
    server = start_redis()
    server.ask("EVAL", "for i = 1, 20000 do redis.call('SET', 'k' .. i, 'x') end", 0)
    server.kill()
    server.settings |= {"key-load-delay": "300", "loading-process-events-interval-bytes": "1024"}
    server.start(wait=False)
    server.wait_until_it_loads()
    store = RedisStore(server.url)
    with pytest.raises(StoreUnavailable, match="still loading"):
        store.backlog()
    store.close()
