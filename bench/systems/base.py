"""What the bench must know of a system, and the servers that the systems share."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from bench.load import Answer
from bench.meters import Groups
from bench.options import Options
from bench.sink import SUBJECT
from bench.work import Target
from tests.servers import installed, mongodb, rabbitmq
from tests.servers.mongodb import MongoDB
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import RedisServer

CACHE_GB = (
    4  # of each MongoDB: by default it takes half of the memory, and one that is too small works on what it evicts
)


class Submitter(Protocol):
    """A client that is connected and waits for the word."""

    def go(self) -> None:
        """Starts submitting."""

    @property
    def running(self) -> bool:
        """Whether it still submits."""

    def answer(self) -> Answer:
        """What came of it; waits for its end."""

    def close(self) -> None:
        """Ends it, whatever it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A system that takes emails. `settled(n)` tells, cheaply, whether the status of n emails is final and recorded.

    It is submitted to over HTTP at `target`, unless it brings a `submitter` of its own for so many emails.
    """

    groups: Groups
    settled: Callable[[int], bool]
    target: Target | None = None
    submitter: Callable[[int], Submitter] | None = None


Start = Callable[["Servers", Path, int, Options], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A system with its name in the tables. `n` emails take it about ten seconds on two cores."""

    name: str
    title: str
    durability: str
    start: Start
    n: int
    batches: bool = False  # whether it also takes lists of emails
    header: bytes = SUBJECT  # the header of a message that is different in each


class Servers:
    """Private RabbitMQ, MongoDB and Redis, started when first asked for and kept until the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def close(self) -> None:
        """Ends those that were started."""
        self._stack.close()

    def rabbitmq_version(self) -> str:
        """The version of the broker, if it was started."""
        if "rabbitmq" not in self.__dict__:
            return ""
        return str(self.rabbitmq.call("GET", "overview").json()["rabbitmq_version"])

    def mongodb_version(self) -> str:
        """The version of MongoDB, if one was started."""
        for name in ("mongodb", "plain_mongodb"):
            if name in self.__dict__:
                with getattr(self, name).client() as client:
                    return str(client.server_info()["version"])
        return ""

    @cached_property
    def rabbitmq(self) -> RabbitMQ:
        """One node."""
        server = rabbitmq.start(self._made("rabbitmq"))
        self._stack.callback(server.stop)
        return server

    @cached_property
    def mongodb(self) -> MongoDB:
        """A replica set of one member, as Postroom wants it."""
        return self._stack.enter_context(mongodb.started(self._made("mongodb"), cache_gb=CACHE_GB))

    @cached_property
    def plain_mongodb(self) -> MongoDB:
        """A stand-alone server, as tutorials use it."""
        return self._stack.enter_context(
            mongodb.started(self._made("plain-mongodb"), replica_set=False, cache_gb=CACHE_GB)
        )

    @cached_property
    def redis(self) -> RedisServer:
        """One that syncs each write, set up as the stack's."""
        return self._start_redis("redis", auto_aof_rewrite_min_size="256mb")

    @cached_property
    def plain_redis(self) -> RedisServer:
        """One that keeps everything in memory, but for snapshots."""
        return self._start_redis("plain-redis", appendonly="no", save="3600 1 300 100 60 10000")

    def _start_redis(self, name: str, **settings: str) -> RedisServer:
        program = installed("redis-server", package="redis-server")
        if program is None:
            raise SystemExit("redis-server is missing (Debian package redis-server)")
        server = RedisServer(program, self._made(name), **settings)
        server.start()
        self._stack.callback(server.kill)
        return server

    def _made(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder
