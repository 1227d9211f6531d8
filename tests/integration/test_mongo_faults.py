"""Bad situations with MongoDB: each one a clear sentence in time, nothing half-done, and work goes on afterwards."""

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from postroom.errors import StoreError, StoreUnavailable
from postroom.mail.email import Status
from postroom.store.base import Query
from postroom.store.mongo import MongoStore
from tests import make
from tests.make import ACCOUNT, LEASE, SECOND
from tests.servers import mongodb
from tests.servers.mongodb import MongoDB

IN_TIME_SECONDS = 3.5


@pytest.fixture
def url(own_mongodb: MongoDB) -> str:
    return own_mongodb.url(f"faults_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def store(url: str) -> Iterator[MongoStore]:
    store = MongoStore(url)
    store.ping()
    yield store
    store.close()


def every_call(store: MongoStore) -> dict[str, Callable[[], object]]:
    """Each method, called so that it has something to do."""
    now = store.clock()
    waiting, held = make.stored(store, now, make.email(now), make.email(now))
    [claim] = make.claimed(store, now, held)
    tokens = {held.id: claim.token}
    later = now + SECOND
    return {
        "add": lambda: make.stored(store, now, make.email(now)),
        "replay": lambda: store.replay(ACCOUNT, make.idempotency_key(later), now=now),
        "claim": lambda: store.claim([waiting.id], worker="w", now=now, lease=LEASE),
        "claim_due": lambda: store.claim_due(1, worker="w", now=now, lease=LEASE),
        "renew": lambda: store.renew(tokens, now=now, lease=LEASE),
        "fence": lambda: store.fence(tokens, now=now, lease=LEASE),
        "settle": lambda: store.settle([make.sent(claim, now)], now=now),
        "settle_late": lambda: store.settle_late([make.sent(claim, now)], now=now),
        "attachments": lambda: store.attachments(waiting.id),
        "due": lambda: store.due(9, now=now, wake_up_again_at=later),
        "recover": lambda: store.recover(9, now=now, doubt_delay=SECOND, everything=True),
        "expire": lambda: store.expire(9, now=now),
        "prune": lambda: store.prune(9, now=now, finished_before=now),
        "get": lambda: store.get(ACCOUNT, waiting.id),
        "get_many": lambda: store.get_many([(ACCOUNT, waiting.id)]),
        "list": lambda: store.list(Query(account=ACCOUNT, limit=9)),
        "cancel": lambda: store.cancel(ACCOUNT, waiting.id, now=now),
        "reschedule": lambda: store.reschedule(ACCOUNT, waiting.id, later, now=now),
        "retry": lambda: store.retry(ACCOUNT, waiting.id, now=now, max_age=LEASE, wake_up_at=now),
        "counts": store.counts,
        "backlog": store.backlog,
        "add_key": lambda: store.add_key(make.api_key()),
        "find_key": lambda: store.find_key("0123456789ab"),
        "list_keys": store.list_keys,
        "revoke_key": lambda: store.revoke_key("0123456789ab", now=now),
        "ping": store.ping,
    }


def seconds_until_refused(call: Callable[[], object], error: type[StoreError] = StoreError) -> float:
    began = time.monotonic()
    with pytest.raises(error, match=r"^MongoDB at 127\.0\.0\.1:\d+ (has no primary|does not answer|did not answer)"):
        call()
    return time.monotonic() - began


def test_every_call_is_refused_in_time_while_the_server_is_down(own_mongodb: MongoDB, store: MongoStore) -> None:
    calls = every_call(store)
    own_mongodb.kill()
    with ThreadPoolExecutor(len(calls)) as pool:
        seconds = dict(zip(calls, pool.map(seconds_until_refused, calls.values()), strict=True))
    assert max(seconds.values()) < IN_TIME_SECONDS, seconds


def test_frozen_server_makes_add_unavailable_in_time_and_nothing_is_stored(
    own_mongodb: MongoDB, store: MongoStore
) -> None:
    now = store.clock()
    with own_mongodb.frozen():
        add = partial(make.stored, store, now, make.email(now))
        assert seconds_until_refused(add, StoreUnavailable) < IN_TIME_SECONDS
    assert store.counts()[Status.QUEUED] == 0


@pytest.mark.parametrize("name", ["get", "list", "cancel", "recover", "counts", "ping"])
def test_frozen_server_makes_reading_unavailable_in_time(own_mongodb: MongoDB, store: MongoStore, name: str) -> None:
    call = every_call(store)[name]
    patience = 5.0 if name == "counts" else IN_TIME_SECONDS
    with own_mongodb.frozen():
        assert seconds_until_refused(call, StoreUnavailable) < patience


def test_clock_goes_on_while_the_server_is_frozen(own_mongodb: MongoDB, url: str) -> None:
    store = MongoStore(url, clock_sync_seconds=0)
    first = store.clock()
    with own_mongodb.frozen():
        assert store.clock() > first
    store.close()


def test_work_goes_on_when_the_server_is_back(own_mongodb: MongoDB, store: MongoStore) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.email(now))
    own_mongodb.kill()
    seconds_until_refused(store.ping)
    own_mongodb.start()
    make.claimed(store, now, email)


def test_store_that_was_opened_without_a_server_works_once_there_is_one(own_mongodb: MongoDB, url: str) -> None:
    own_mongodb.kill()
    store = MongoStore(url)
    seconds_until_refused(store.clock, StoreUnavailable)
    own_mongodb.start()
    make.stored(store, store.clock(), make.email())
    store.close()


@pytest.mark.parametrize(
    ("replica_set", "sentence"),
    [(False, r"is not in a replica set, .* rs\.initiate\(\) once"), (True, r"never initiated: run rs\.initiate\(\)")],
)
def test_server_without_replica_set_is_refused(tmp_path: Path, replica_set: bool, sentence: str) -> None:
    with mongodb.started(tmp_path, replica_set=replica_set, initiated=False) as server:
        store = MongoStore(server.url())
        with pytest.raises(StoreError, match=sentence):
            store.clock()
        store.close()


@pytest.mark.parametrize(
    "options", ["readPreference=secondary", "readPreference=nearest&readPreferenceTags=dc:east", "w=0"]
)
def test_what_the_url_says_of_reading_and_writing_has_no_effect(url: str, options: str) -> None:
    store = MongoStore(f"{url}?{options}")
    email = make.one(store)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    assert store.settle([make.sent(claim, now)], now=now) == {email.id}
    assert store.counts()[Status.SENT] == 1
    assert store.prune(9, now=now, finished_before=now + SECOND) == 1
    store.close()


def test_closed_store_says_so(mongodb_url: str) -> None:
    store = MongoStore(mongodb_url)
    store.ping()
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="was closed"):
        store.ping()


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://",
        "http://127.0.0.1/postroom",
        "mongodb://user:se@cret/pass@127.0.0.1:1/postroom",
        "mongodb://user:secret@127.0.0.1:99999/postroom",
        "mongodb://user:secret@127.0.0.1:1/postroom?tls=perhaps",
    ],
)
def test_url_with_a_mistake_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must be mongodb://") as refused:
        MongoStore(url)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_password_is_in_no_message(url: str) -> None:
    store = MongoStore(url.replace("mongodb://", "mongodb://user:secret@"))
    with pytest.raises(StoreUnavailable, match="refuses the user or the password") as refused:
        store.ping()
    store.close()
    assert "secret" not in f"{refused.value}{refused.value.__cause__}{refused.value.__context__}"


def refused(store: MongoStore) -> BaseException | None:
    with pytest.raises(StoreUnavailable) as error:
        store.ping()
    return error.value.__cause__


def test_link_that_was_made_in_the_middle_of_an_election_is_not_kept(own_mongodb: MongoDB) -> None:
    """For a moment a member is neither primary nor secondary; what it says of itself then, the driver believes for as
    long as the link lasts."""
    url = own_mongodb.url(f"faults_{uuid.uuid4().hex[:8]}", "?directConnection=true")
    with closing(MongoStore(url)) as store:
        with own_mongodb.between_elections():
            assert not all(isinstance(refused(store), ServerSelectionTimeoutError) for _ in range(5))
        with suppress(StoreUnavailable):  # on that link, if nothing has cut it meanwhile
            make.one(store)
        assert make.found(store, make.one(store)).life.status is Status.QUEUED


def test_database_that_was_emptied_under_way_has_its_indexes_again_once_one_process_asks(
    own_mongodb: MongoDB, store: MongoStore, url: str
) -> None:
    with closing(MongoStore(url)) as elsewhere, own_mongodb.client() as client:
        database = client[url.rpartition("/")[2]]

        def indexes() -> dict[str, set[str]]:
            return {name: set(database[name].index_information()) for name in database.list_collection_names()}

        elsewhere.ping()
        made = indexes()
        client.drop_database(database.name)
        store.ping()  # as the API does when it is asked whether it is ready
        email = make.one(store)
        assert indexes() == made
        due = elsewhere.due(1, now=email.created_at + 16 * SECOND, wake_up_again_at=email.created_at + 31 * SECOND)
        assert [email.id] in due.values()
