"""The adapters that the suites run against. A new adapter adds one entry here, and nothing to the suites."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from postroom.mail.email import Lane
from postroom.queue.base import Queue
from postroom.queue.celery import CeleryQueue
from postroom.queue.memory import MemoryQueue
from postroom.store.base import Store
from postroom.store.mongo import MongoStore
from postroom.store.redis import RedisStore
from postroom.store.redis.records import LIVES
from postroom.store.sqlite import SqliteStore
from tests.servers.rabbitmq import taken_from

OpenStore = Callable[[pytest.FixtureRequest, Path], Store]
Rewrite = Callable[[Any, str, str], None]
Take = Callable[[], tuple[Lane, list[str]] | None]


@dataclass(frozen=True, slots=True)
class QueueAndTaker:
    """A queue, and how a worker takes from it: the next wake-up, or None when none comes soon."""

    queue: Queue
    take: Take


def _sqlite(_: pytest.FixtureRequest, directory: Path) -> Store:
    return SqliteStore(directory / "store.sqlite3")


def _rewrite_sqlite(store: SqliteStore, email_id: str, word: str) -> None:
    statement = "UPDATE emails SET recipients = json_set(recipients, '$[0].status', ?) WHERE id = ?"
    store._writer.run(lambda connection: connection.execute(statement, (word, email_id)).close())


def _redis(request: pytest.FixtureRequest, _: Path) -> Store:
    return RedisStore(request.getfixturevalue("empty_redis")())


def _rewrite_redis(store: RedisStore, email_id: str, word: str) -> None:
    with store._connections.session(writing=True) as session:
        life = json.loads(session.ask("HGET", LIVES, email_id))
        life[0][0][2] = word
        session.write(("HSET", LIVES, email_id, json.dumps(life)), durable=False)


def _mongo(request: pytest.FixtureRequest, _: Path) -> Store:
    return MongoStore(request.getfixturevalue("new_mongodb_url")())


def _rewrite_mongo(store: MongoStore, email_id: str, word: str) -> None:
    store._connections.current().emails.update_one({"_id": email_id}, {"$set": {"recipients.0.status": word}})


def _memory(_: pytest.FixtureRequest) -> QueueAndTaker:
    queue = MemoryQueue()
    return QueueAndTaker(queue, lambda: queue.take(0))


def _celery(request: pytest.FixtureRequest) -> QueueAndTaker:
    url = request.getfixturevalue("amqp_url")
    queue = CeleryQueue(url, confirm_seconds=10)  # a node that has just started is slow with its first queues
    queue.ping()
    return QueueAndTaker(queue, partial(taken_from, url))


# Each brings a store that holds nothing, in the directory or on a server that a fixture of the request's starts.
STORES: dict[str, OpenStore] = {"sqlite": _sqlite, "redis": _redis, "mongo": _mongo}
# Each puts a word in the place of the status of an email's first recipient, behind the store's back.
REWRITES: dict[str, Rewrite] = {"sqlite": _rewrite_sqlite, "redis": _rewrite_redis, "mongo": _rewrite_mongo}
QUEUES: dict[str, Callable[[pytest.FixtureRequest], QueueAndTaker]] = {"memory": _memory, "celery": _celery}


@pytest.fixture(params=STORES)
def adapter(request: pytest.FixtureRequest) -> str:
    """Which store."""
    name: str = request.param
    return name


@pytest.fixture
def fresh_store(adapter: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens an empty store at each call; all are closed after the test."""
    serial = count()
    with ExitStack() as opened:

        def open_one() -> Store:
            store = STORES[adapter](request, tmp_path / str(next(serial)))
            opened.callback(store.close)
            return store

        yield open_one


@pytest.fixture
def store(fresh_store: Callable[[], Store]) -> Store:
    """An empty store."""
    return fresh_store()


@pytest.fixture
def rewrite(adapter: str, store: Store) -> Callable[[str, str], None]:
    """Gives an email's first recipient another status, known or not, as it is stored."""
    return partial(REWRITES[adapter], store)


@pytest.fixture(params=QUEUES)
def queue_and_taker(request: pytest.FixtureRequest) -> Iterator[QueueAndTaker]:
    """An empty queue with somebody who takes from it."""
    found = QUEUES[request.param](request)
    yield found
    found.queue.close()
