"""Private Redis servers, as a careful or careless operator sets them up, and the faults that can be done to them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers import free_port, installed, require

START_SECONDS = 30.0
DURABLE = {"appendonly": "yes", "appendfsync": "always"}


class RedisServer:
    """One server with its data in `folder`. `settings` are lines of its configuration, by name."""

    def __init__(self, program: str, folder: Path, **settings: str) -> None:
        self._program = program
        self._folder = folder
        self.port = free_port()
        self.settings = {**DURABLE, **{name.replace("_", "-"): value for name, value in settings.items()}}
        self._process: subprocess.Popen[bytes] | None = None
        once = Retry(NoBackoff(), 0)
        self._client = redis.Redis.from_url(self.url, socket_timeout=10, retry=once, driver_info=None)

    @property
    def url(self) -> str:
        """Where clients connect."""
        password = self.settings.get("requirepass")
        return f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"

    def start(self, *, wait: bool = True) -> None:
        """Starts it; returns when it answers, unless told not to wait."""
        settings = {"bind": "127.0.0.1", "port": self.port, "dir": self._folder, "save": '""', **self.settings}
        configuration = self._folder / "redis.conf"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, configuration], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        if wait:
            self._wait_until_served()

    def kill(self) -> None:
        """kill -9."""
        self._client.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def restart(self) -> None:
        """kill -9, and up again."""
        self.kill()
        self.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile it is stopped (SIGSTOP): connections stay open, nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str | int) -> Any:
        """The reply to one command."""
        return self._client.execute_command(*command)

    def keys(self, pattern: str) -> list[str]:
        """The names of all keys that fit."""
        return [key.decode() for key in self.ask("KEYS", pattern)]

    def fields(self, key: str) -> dict[str, str]:
        """A hash that holds text."""
        return {name.decode(): value.decode() for name, value in self.ask("HGETALL", key).items()}

    def scores(self, key: str) -> dict[str, float]:
        """A sorted set."""
        return {member.decode(): score for member, score in self._client.zrange(key, 0, -1, withscores=True)}

    @property
    def cpu_seconds(self) -> float:
        """How much it has worked since its start."""
        info = self.ask("INFO", "cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def wait_until_it_loads(self) -> None:
        """Returns while it is loading its data."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.ask("INFO", "persistence")["loading"]:
                    return
            except redis.exceptions.ConnectionError:
                time.sleep(0.01)
        raise AssertionError("Redis was never seen loading")

    def _wait_until_served(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.running:
            try:
                self.ask("PING")
                return
            except redis.exceptions.ResponseError:
                return  # it wants a password, or is a replica: it answers
            except redis.exceptions.ConnectionError:
                time.sleep(0.02)
        raise AssertionError(f"Redis is not ready; see {self._folder}")


Start = Callable[..., RedisServer]


@pytest.fixture(scope="session")
def redis_program() -> str:
    """The path of `redis-server`."""
    program = installed("redis-server", package="redis-server")
    require(program, "redis-server is not on PATH and cannot be installed (Debian package redis-server, as root)")
    return str(program)


@pytest.fixture
def start_redis(redis_program: str, tmp_path: Path) -> Iterator[Start]:
    """Starts servers of this test's own, with these settings beside the durable ones."""
    started: list[RedisServer] = []

    def one(**settings: str) -> RedisServer:
        folder = tmp_path / f"redis-{len(started)}"
        folder.mkdir()
        started.append(RedisServer(redis_program, folder, **settings))
        started[-1].start()
        return started[-1]

    yield one
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def redis_server(redis_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One durable server for the whole session; it may be frozen for a while, and must not lose anything."""
    server = RedisServer(redis_program, tmp_path_factory.mktemp("redis"), databases="1000")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """A durable server that nothing bad happens to: the one that POSTROOM_TEST_REDIS_URL names, whose databases the
    tests empty, else the private one."""
    return os.environ.get("POSTROOM_TEST_REDIS_URL") or str(request.getfixturevalue("redis_server").url)


FIRST_DATABASES = 16  # what every server has; those beyond belong to the engines


@pytest.fixture(scope="session")
def empty_redis(redis_url: str) -> Callable[[], str]:
    """Brings the URL of an empty database of that server at each call, each of its first sixteen in turn."""
    serial = count()

    def one() -> str:
        with redis.Redis.from_url(redis_url, db=next(serial) % FIRST_DATABASES) as client:
            client.flushdb()
            number = client.connection_pool.connection_kwargs["db"]
        return f"{redis_url.rpartition('/')[0]}/{number}"

    return one
