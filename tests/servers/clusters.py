"""Three nodes of RabbitMQ, and three members of a MongoDB replica set, on one machine."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pymongo
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.servers import mongodb, rabbitmq
from tests.servers.mongodb import Client, MongoDB
from tests.servers.rabbitmq import RabbitMQ

NODES = 3
START_SECONDS = 60.0
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "hosts" / "rabbitmq.conf"


class RabbitMQCluster:
    """Its nodes, of which clients know all."""

    def __init__(self, folder: Path) -> None:
        cookie = folder / ".erlang.cookie"
        cookie.write_text("POSTROOMTESTS")
        cookie.chmod(0o400)
        self.nodes: list[RabbitMQ] = []
        for number in range(NODES):
            (folder / str(number)).mkdir()
            epmd_port = self.nodes[0].epmd_port if self.nodes else None
            self.nodes.append(RabbitMQ(folder / str(number), home=folder, epmd_port=epmd_port))
        formation = self._formation()
        for node in self.nodes:
            with (node.folder / "rabbitmq.conf").open("a") as configuration:
                configuration.write(formation)

    def _formation(self) -> str:
        """What our operators are told about clusters, with the names of these nodes."""
        lines = CONFIGURATION.read_text(encoding="utf-8").splitlines(keepends=True)
        formation = "".join(line for line in lines if line.startswith("cluster_"))
        for number, node in enumerate(self.nodes, 1):
            formation = formation.replace(f"rabbit@rabbit{number}\n", f"{node.name}\n")
        assert "rabbit@" not in formation
        return formation

    @property
    def url(self) -> str:
        """All nodes, as `CELERY_BROKER_URL` names them."""
        return ";".join(node.url for node in self.nodes)

    def start(self) -> None:
        """Starts all nodes at once and returns when each serves clients and knows the others."""
        self.nodes[0].start_epmd()
        with ThreadPoolExecutor() as pool:
            list(pool.map(RabbitMQ.start, self.nodes))
        deadline = time.monotonic() + START_SECONDS
        while len(self.nodes[0].call("GET", "nodes").json()) < NODES:
            assert time.monotonic() < deadline, "the nodes have not formed a cluster"
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends them for good."""
        for node in reversed(self.nodes):
            node.stop()


class ReplicaSet:
    """Its members. An election begins when the primary was silent for `election_ms`."""

    def __init__(self, folder: Path, *, election_ms: int = 10_000) -> None:
        self.members: list[MongoDB] = []
        for number in range(NODES):
            (folder / str(number)).mkdir()
            self.members.append(MongoDB(mongodb.program(), folder / str(number), initiated=False))
        self._election_ms = election_ms

    @property
    def url(self) -> str:
        """All members, as `POSTROOM_STORE_URL` names them."""
        return f"mongodb://{','.join(f'127.0.0.1:{m.port}' for m in self.members)}/postroom?replicaSet=rs0"

    def start(self) -> None:
        """Starts them, makes them one set, and returns when it has a primary."""
        for member in self.members:
            member.start()
        hosts = [{"_id": i, "host": f"127.0.0.1:{m.port}"} for i, m in enumerate(self.members)]
        with self.members[0].client() as client:
            settings = {"electionTimeoutMillis": self._election_ms, "heartbeatIntervalMillis": self._election_ms // 5}
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": hosts, "settings": settings})
        self.primary()

    def primary(self) -> MongoDB:
        """The member that is written to."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                with pymongo.timeout(5), self.client() as client:
                    client.admin.command("ping")
                    if client.primary:
                        return next(member for member in self.members if member.port == client.primary[1])
            except PyMongoError:
                time.sleep(0.05)
        raise AssertionError("the replica set has no primary")

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client of the whole set."""
        with MongoClient(self.url, serverSelectionTimeoutMS=2000) as client:
            yield client

    def stop(self) -> None:
        """Kills them."""
        for member in self.members:
            member.kill()


@contextmanager
def rabbitmq_cluster(folder: Path) -> Iterator[RabbitMQCluster]:
    """A running cluster; skips (under CI: fails) where RabbitMQ is not and cannot be installed."""
    rabbitmq.require_installed()
    cluster = RabbitMQCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def replica_set(folder: Path, *, election_ms: int = 10_000) -> Iterator[ReplicaSet]:
    """A running replica set of three."""
    started = ReplicaSet(folder, election_ms=election_ms)
    try:
        started.start()
        yield started
    finally:
        started.stop()
