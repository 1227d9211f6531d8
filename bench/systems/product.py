"""Postroom itself: embedded on SQLite, and distributed on RabbitMQ with MongoDB or Redis."""

import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx

from bench.options import Options
from bench.process import started
from bench.systems.base import Running, Servers
from bench.work import Target
from postroom import keyring, settings, wiring
from postroom.mail.api_key import FULL_ACCESS
from tests.servers import free_port

UNFINISHED = "scheduled,queued,sending,retrying"
POSTROOM = (sys.executable, "-m", "postroom")


@contextmanager
def embedded(_: Servers, folder: Path, relay_port: int, options: Options) -> Iterator[Running]:
    """`postroom run`, one process."""
    store_url = options.store_url or f"sqlite:///{folder / 'postroom.sqlite3'}"
    environment = _environment(store_url, relay_port, options)
    token, port = _token(environment), int(environment["POSTROOM_PORT"])
    with (
        started([*POSTROOM, "run"], folder / "run.log", environment=environment, port=port) as run,
        _asking(port, token) as client,
    ):
        yield Running(
            target=Target(port=port, token=token),
            groups={"all in one": [run.pid]},
            settled=lambda _: _none_unfinished(client),
        )


@contextmanager
def on_mongodb(servers: Servers, folder: Path, relay_port: int, options: Options) -> Iterator[Running]:
    """`serve`, `worker` and `sweep` around RabbitMQ and MongoDB."""
    name = f"postroom_{uuid.uuid4().hex[:8]}"
    store_url = options.store_url or servers.mongodb.url(name, "?replicaSet=rs0")
    with _distributed(servers, folder, _environment(store_url, relay_port, options), options) as running:
        yield _with_store(running, servers.mongodb.pid)
    if options.store_url is None:
        with servers.mongodb.client() as client:
            client.drop_database(name)


@contextmanager
def on_redis(servers: Servers, folder: Path, relay_port: int, options: Options) -> Iterator[Running]:
    """`serve`, `worker` and `sweep` around RabbitMQ and Redis."""
    if options.store_url is None:
        servers.redis.ask("FLUSHALL")
    store_url = options.store_url or servers.redis.url
    with _distributed(servers, folder, _environment(store_url, relay_port, options), options) as running:
        yield _with_store(running, servers.redis.pid)


@contextmanager
def _distributed(servers: Servers, folder: Path, environment: dict[str, str], options: Options) -> Iterator[Running]:
    broker = servers.rabbitmq
    environment["CELERY_BROKER_URL"] = broker.new_vhost(f"postroom-{uuid.uuid4().hex[:8]}")
    token, port = _token(environment), int(environment["POSTROOM_PORT"])
    with ExitStack() as stack:

        def start(command: str, name: str, *, port: int | None = None, says: str | None = None) -> int:
            words = [*POSTROOM, *command.split()]
            process = started(words, folder / f"{name}.log", environment=environment, port=port, says=says)
            return stack.enter_context(process).pid

        stack.callback(broker.drop_vhost)
        api = start("serve", "serve", port=port)
        workers = [
            start(f"worker --hostname bench{number}@%h", f"worker-{number}", says=" ready.")
            for number in range(options.workers)
        ]
        sweep = start("sweep", "sweep", says=" started")
        client = stack.enter_context(_asking(port, token))
        yield Running(
            target=Target(port=port, token=token),
            groups={"api": [api], "workers": workers, "sweep": [sweep], "broker": [broker.pid]},
            settled=lambda _: _none_unfinished(client),
        )


def _environment(store_url: str, relay_port: int, options: Options) -> dict[str, str]:
    relay = f"smtp://127.0.0.1:{relay_port}" if relay_port else "simulated://"
    return {
        "POSTROOM_STORE_URL": store_url,
        "POSTROOM_RELAY_URL": relay,
        "POSTROOM_PORT": str(free_port()),
        "POSTROOM_API_PROCESSES": str(options.api_processes),
        "POSTROOM_WORKER_PROCESSES": str(options.children),
        "POSTROOM_RELAY_CONNECTIONS": str(options.relay_connections),
        **options.settings,
    }


def _token(environment: Mapping[str, str]) -> str:
    """A key of the store that these settings name."""
    with closing(wiring.open_store(settings.load(environment))) as store:
        return keyring.create(keyring.DEFAULT_ACCOUNT, "bench", scopes=FULL_ACCESS, store=store)[1]


@contextmanager
def _asking(port: int, token: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=30) as client:
        yield client


def _none_unfinished(client: httpx.Client) -> bool:
    answer = client.get("/emails", params={"status": UNFINISHED, "limit": 1}).raise_for_status()
    return not answer.json()["data"]


def _with_store(running: Running, pid: int) -> Running:
    return Running(target=running.target, groups={**running.groups, "store": [pid]}, settled=running.settled)
