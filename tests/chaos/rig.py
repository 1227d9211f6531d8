"""The whole distributed product as processes of its own, around private servers and a relay that keeps the books."""

import contextlib
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import httpx

from postroom import keyring
from postroom.mail.api_key import FULL_ACCESS
from tests.chaos.posts import Post, Posts
from tests.fleet import Fleet
from tests.servers import clusters, free_port, installed, mongodb, rabbitmq, require
from tests.servers.clusters import RabbitMQCluster, ReplicaSet
from tests.servers.mongodb import MongoDB
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import RedisServer
from tests.smtpd import Smtpd

StoreKind = Literal["mongo", "redis"]
Broker: TypeAlias = RabbitMQ | RabbitMQCluster
StoreServer: TypeAlias = MongoDB | ReplicaSet | RedisServer
START_SECONDS = 60.0
ELECTION_MS = 2000
QUICK = {  # so that a scenario takes a minute; what is about the default times says so
    "lease_seconds": "5",
    "doubt_lease_seconds": "10",
    "doubt_delay_seconds": "2",
    "wake_up_seconds": "5",
    "sweep_seconds": "0.5",
    "retry_base_seconds": "1",
    "retry_cap_seconds": "4",
    "route_delay_seconds": "1",
    "stop_seconds": "5",
    "relay_connect_seconds": "5",
    "relay_command_seconds": "5",
    "relay_body_seconds": "5",
    "relay_dot_seconds": "5",
}


@dataclass(slots=True, kw_only=True)
class Rig:
    """Everything that a scenario runs on, and when each process was struck: pid -> time (epoch)."""

    broker: Broker
    store: StoreServer
    sink: Smtpd
    fleet: Fleet
    posts: Posts
    address: str
    key: str = ""
    struck: dict[int, float] = field(default_factory=dict)

    def request(self, path: str, **query: str) -> dict[str, object]:
        """What the API answers to a GET."""
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = httpx.get(self.address + path, params=query, headers=headers, timeout=20, trust_env=False)
        assert answer.is_success, f"GET {path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def workers(self) -> list[int]:
        """The worker processes that deliver."""
        return [pid for post in self.posts.of("worker") for pid in post.children()]

    def strike(self, pids: list[int]) -> None:
        """Notes that these are killed or frozen now."""
        self.struck.update(dict.fromkeys(pids, time.time()))


@contextmanager
def servers(store: StoreKind, *, clustered: bool = False) -> Iterator[tuple[Broker, StoreServer]]:
    """A broker and a store of our own, for one scenario after another; `clustered`, three of each but of Redis."""
    with tempfile.TemporaryDirectory(prefix="postroom-chaos-") as name, contextlib.ExitStack() as stack:
        folders = [Path(name) / part for part in ("broker", "store")]
        for folder in folders:
            folder.mkdir()
        yield _broker(folders[0], stack, clustered), _store(store, folders[1], stack, clustered)


def _broker(folder: Path, stack: contextlib.ExitStack, clustered: bool) -> Broker:
    if clustered:
        return stack.enter_context(clusters.rabbitmq_cluster(folder))
    broker = rabbitmq.start(folder)
    stack.callback(broker.stop)
    return broker


def _store(kind: StoreKind, folder: Path, stack: contextlib.ExitStack, clustered: bool) -> StoreServer:
    if kind == "mongo":
        return stack.enter_context(
            clusters.replica_set(folder, election_ms=ELECTION_MS) if clustered else mongodb.started(folder)
        )
    program = installed("redis-server", package="redis-server")
    require(program, "Redis is not installed (redis-server)")
    redis = RedisServer(str(program), folder)
    redis.start()
    stack.callback(redis.kill)
    return redis


@contextmanager
def rig(
    broker: Broker,
    store: StoreServer,
    folder: Path,
    *,
    settings: Mapping[str, str],
    workers: int = 1,
    with_broker: bool = True,
) -> Iterator[Rig]:
    """The product around these servers, which are brought into order first, with an empty store. Logs are in `folder`.

    When the block ends its processes are killed; `Posts.stop` is the clean end.
    """
    _bring_into_order(broker, store, with_broker=with_broker)
    store_url = store.url if isinstance(store, RedisServer) else store.url(f"chaos_{uuid.uuid4().hex[:8]}")
    port = str(free_port())
    with Smtpd() as sink:
        more = {"port": port, "relay_url": sink.url, "relay_connections": "10", **settings}
        fleet = Fleet(folder, store_url=store_url, broker_url=broker.url, **more)
        made = Rig(
            broker=broker, store=store, sink=sink, fleet=fleet, posts=Posts(), address=f"http://127.0.0.1:{port}"
        )
        try:
            _man(made, workers)
            yield made
        finally:
            fleet.close()


def _bring_into_order(broker: Broker, store: StoreServer, *, with_broker: bool) -> None:
    if not store.running:
        store.start()
    if isinstance(store, RedisServer):
        store.ask("FLUSHALL")
    if not with_broker:
        broker.stop()
        return
    if not broker.running:
        broker.start()
    for queue in ("urgent", "normal", "bulk", "dead"):
        broker.delete_queue(f"postroom.{queue}")


def _man(rig: Rig, workers: int) -> None:
    """Starts every process, and waits until the API answers and every worker has its children."""
    rig.key = keyring.create(keyring.DEFAULT_ACCOUNT, "chaos", scopes=FULL_ACCESS, store=rig.fleet.store)[1]
    rig.posts.add("serve", Post(rig.fleet, "postroom", "serve"))
    for number in range(workers):
        rig.posts.add("worker", Post(rig.fleet, "postroom", "worker", "--hostname", f"chaos{number}@%h"))
    rig.posts.add("sweep", Post(rig.fleet, "postroom", "sweep"))
    rig.fleet.wait(lambda: _answers(rig.address), "the API answers", seconds=START_SECONDS)
    rig.fleet.wait(lambda: len(rig.workers()) == 2 * workers, "the workers have children", seconds=START_SECONDS)
    rig.posts.start()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=5, trust_env=False).status_code in (200, 503)
    except httpx.HTTPError:
        return False
