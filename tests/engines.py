"""The kinds of Postroom that the same tests run against: embedded with SQLite, or distributed around a real RabbitMQ
and MongoDB or Redis.

Whether an email is accepted, kept or delivered must not depend on the kind: a test that asks for `engine` (most do, by
way of `product` or `delivering`) runs once for each. Marked `one_engine`, it runs on SQLite alone.
"""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from tests.servers.mongodb import MongoDB
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import FIRST_DATABASES, RedisServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One kind. `broker` is for as long as a product runs; without one, the product delivers in its own process."""

    name: str
    new_store_url: Callable[[Path], str]
    stuck: Callable[[Path], AbstractContextManager[None]]
    broker: Callable[[], AbstractContextManager[str | None]]
    _urls: dict[Path, str] = field(default_factory=dict)

    def store_url(self, folder: Path) -> str:
        """Where the product in this folder keeps its emails: the same at each call, and nobody else's."""
        if folder not in self._urls:
            self._urls[folder] = self.new_store_url(folder)
        return self._urls[folder]


def _sqlite(_: pytest.FixtureRequest) -> Engine:
    def file(folder: Path) -> Path:
        return folder / "postroom.sqlite3"

    @contextmanager
    def locked(folder: Path) -> Iterator[None]:
        with closing(sqlite3.connect(file(folder), timeout=5, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")

    return Engine(name="sqlite", new_store_url=lambda f: f"sqlite:///{file(f)}", stuck=locked, broker=nullcontext)


def _mongo(request: pytest.FixtureRequest) -> Engine:
    server: MongoDB = request.getfixturevalue("mongodb_server")
    rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq_node")
    return Engine(
        name="mongo",
        new_store_url=lambda _: server.url(f"postroom_{uuid.uuid4().hex[:8]}"),
        stuck=lambda _: server.frozen(),
        broker=rabbitmq.own_vhost,
    )


def _redis(request: pytest.FixtureRequest) -> Engine:
    server: RedisServer = request.getfixturevalue("redis_server")
    rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq_node")
    serial = count(FIRST_DATABASES)
    return Engine(
        name="redis",
        new_store_url=lambda _: f"{server.url.rpartition('/')[0]}/{next(serial)}",
        stuck=lambda _: server.frozen(),
        broker=rabbitmq.own_vhost,
    )


ENGINES: dict[str, Callable[[pytest.FixtureRequest], Engine]] = {"sqlite": _sqlite, "mongo": _mongo, "redis": _redis}


@pytest.fixture(scope="session")
def engines(request: pytest.FixtureRequest) -> Callable[[str], Engine]:
    """Brings an engine by its name; its servers are started when it is first asked for."""
    made: dict[str, Engine] = {}

    def one(name: str) -> Engine:
        if name not in made:
            made[name] = ENGINES[name](request)
        return made[name]

    return one


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, engines: Callable[[str], Engine]) -> Engine:
    """Each engine in turn."""
    return engines(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test that asks for an engine on all of them, unless it is marked `one_engine`."""
    if "engine" in metafunc.fixturenames:
        one = metafunc.definition.get_closest_marker("one_engine")
        metafunc.parametrize("engine", ["sqlite"] if one else list(ENGINES), indirect=True, scope="module")
