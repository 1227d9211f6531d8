"""Three nodes of RabbitMQ, and three members of a MongoDB replica set, on one machine."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pymongo
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from postroom.mail.email import Lane
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
        """Starts all nodes that do not run, at once; returns when each serves clients and knows the others."""
        self.nodes[0].start_epmd()
        with ThreadPoolExecutor() as pool:
            list(pool.map(RabbitMQ.start, (node for node in self.nodes if not node.running)))
        deadline = time.monotonic() + START_SECONDS
        while len(self.nodes[0].call("GET", "nodes").json()) < NODES:
            assert time.monotonic() < deadline, "the nodes have not formed a cluster"
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends them for good."""
        for node in reversed(self.nodes):
            node.stop()

    @property
    def running(self) -> bool:
        """Whether all nodes are there."""
        return all(node.running for node in self.nodes)

    # -- faults, as of a single node ----------------------------------------------------------------------------------

    def leader(self, queue: str = f"postroom.{Lane.NORMAL}") -> RabbitMQ:
        """The node that leads a queue; any one that runs if there is no such queue."""
        name = self._one().call("GET", f"queues/%2F/{queue}").json().get("leader")
        return next((node for node in self.nodes if node.name == name), self._one())

    def kill(self) -> None:
        """kill -9 of the node that leads the normal lane."""
        self.leader().kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile the node that leads the normal lane is stopped."""
        with self.leader().frozen():
            yield

    @contextmanager
    def under_memory_alarm(self) -> Iterator[None]:
        """Meanwhile publishers are blocked on all nodes because memory is short on one."""
        with self._one().under_memory_alarm():
            yield

    @contextmanager
    def partitioned(self) -> Iterator[None]:
        """Meanwhile the node that leads the normal lane and the others do not let each other in; clients reach both
        sides."""
        lonely = self.leader()
        others = [node.name for node in self.nodes if node is not lonely]
        cut = ", ".join(f"erlang:set_cookie('{name}', another), erlang:disconnect_node('{name}')" for name in others)
        mend = ", ".join(f"erlang:set_cookie('{name}', erlang:get_cookie())" for name in others)
        lonely.control("eval", f"{cut}.")
        try:
            yield
        finally:
            lonely.control("eval", f"{mend}.")

    def close_all_connections(self) -> None:
        """Closes every client's connection, to any node."""
        for node in self.nodes:
            if node.running:
                node.close_all_connections()

    def purge(self, queue: str) -> None:
        """Empties a queue."""
        self._one().purge(queue)

    def delete_queue(self, queue: str) -> None:
        """Deletes a queue."""
        self._one().delete_queue(queue)

    def wipe(self) -> None:
        """kill -9 of all nodes, their data folders emptied, and up again as a new cluster."""
        for node in self.nodes:
            node.kill()
            shutil.rmtree(node.folder / "data")
        self.start()

    def _one(self) -> RabbitMQ:
        return next(node for node in self.nodes if node.running)


class ReplicaSet:
    """Its members. An election begins when the primary was silent for `election_ms`."""

    def __init__(self, folder: Path, *, election_ms: int = 10_000) -> None:
        self.members: list[MongoDB] = []
        for number in range(NODES):
            (folder / str(number)).mkdir()
            self.members.append(MongoDB(mongodb.program(), folder / str(number), initiated=False))
        self._election_ms = election_ms
        self._initiated = False

    def url(self, database: str = "postroom") -> str:
        """All members, as `POSTROOM_STORE_URL` names them."""
        return f"mongodb://{','.join(f'127.0.0.1:{m.port}' for m in self.members)}/{database}?replicaSet=rs0"

    def start(self) -> None:
        """Starts those that do not run, makes them one set, and returns when it has a primary."""
        for member in self.members:
            if not member.running:
                member.start()
        if not self._initiated:
            self._initiate()
        self.primary()

    def _initiate(self) -> None:
        hosts = [{"_id": i, "host": f"127.0.0.1:{m.port}"} for i, m in enumerate(self.members)]
        with self.members[0].client() as client:
            settings = {"electionTimeoutMillis": self._election_ms, "heartbeatIntervalMillis": self._election_ms // 5}
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": hosts, "settings": settings})
        self._initiated = True

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
        with MongoClient(self.url(), serverSelectionTimeoutMS=2000) as client:
            yield client

    def stop(self) -> None:
        """Kills them."""
        for member in self.members:
            member.kill()

    @property
    def running(self) -> bool:
        """Whether all members are there."""
        return all(member.running for member in self.members)

    # -- faults -------------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """kill -9 of the primary."""
        self.primary().kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile the primary is stopped; if that is for longer than an election takes, it wakes up as one that was
        replaced, and forgets what the others never had."""
        with self.primary().frozen():
            yield

    @contextmanager
    def without_majority(self) -> Iterator[None]:
        """Meanwhile all members but the primary are stopped."""
        primary = self.primary()
        with ExitStack() as stack:
            for member in self.members:
                if member is not primary and member.running:
                    stack.enter_context(member.frozen())
            yield

    def step_down(self) -> None:
        """Has the primary step down at once, whether or not another member has all that it has."""
        with suppress(PyMongoError), self.client() as client:
            client.admin.command("replSetStepDown", 2, secondaryCatchUpPeriodSecs=0, force=True)

    def resync(self) -> None:
        """Empties a secondary, which gets everything anew from the others."""
        primary = self.primary()
        secondary = next(member for member in self.members if member is not primary)
        secondary.kill()
        for path in secondary.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "log":
                path.unlink()
        secondary.start()


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
