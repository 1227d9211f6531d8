"""The systems that Postroom is measured against."""

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.options import Options
from bench.process import started
from bench.smtp_source import SmtpSource
from bench.systems.base import Running, Servers
from bench.work import Target
from tests.servers import free_port
from tests.servers.postfix import postfix as private_postfix

PREFORK = "2"


@contextmanager
def naive(servers: Servers, folder: Path, relay_port: int, _: Options, *, durable: bool = False) -> Iterator[Running]:
    """FastAPI and Celery, prefork with two children, on RabbitMQ; results in MongoDB."""
    broker, name = servers.rabbitmq, f"naive_{uuid.uuid4().hex[:8]}"
    environment = {
        "NAIVE_BROKER": broker.new_vhost(name),
        "NAIVE_RESULTS": servers.plain_mongodb.url(name, "?journal=true" if durable else ""),
        "NAIVE_RELAY_PORT": str(relay_port),
        "NAIVE_DURABLE": "1" if durable else "",
    }
    port = free_port()
    worker = ["celery", "-A", "bench.naive.tasks", "worker", "--loglevel", "warning", "--concurrency"]
    with (
        _uvicorn("bench.naive.app:app", port, folder, environment) as api,
        started([sys.executable, "-m", *worker, PREFORK], folder / "worker.log", environment=environment) as workers,
        servers.plain_mongodb.client() as client,
    ):
        results = client[name]["celery_taskmeta"]
        yield Running(
            target=Target(port=port, sent="SUCCESS"),
            groups={
                "api": [api],
                "workers": [workers.pid],
                "broker": [broker.pid],
                "store": [servers.plain_mongodb.pid],
            },
            settled=lambda n: results.count_documents({"status": "SUCCESS"}) >= n,
        )
        client.drop_database(name)
    broker.drop_vhost()


naive_durable = partial(naive, durable=True)


@contextmanager
def taskiq(servers: Servers, folder: Path, relay_port: int, _: Options) -> Iterator[Running]:
    """FastAPI and taskiq with two worker processes, on RabbitMQ; results in Redis."""
    broker, store = servers.rabbitmq, servers.plain_redis
    store.ask("FLUSHALL")
    environment = {
        "TASKIQ_BROKER": broker.new_vhost(f"taskiq-{uuid.uuid4().hex[:8]}"),
        "TASKIQ_RESULTS": store.url,
        "TASKIQ_RELAY_PORT": str(relay_port),
    }
    port = free_port()
    worker = ["taskiq", "worker", "bench.taskiq.app:broker", "--log-level", "WARNING", "--workers"]
    with (
        _uvicorn("bench.taskiq.app:app", port, folder, environment) as api,
        started([sys.executable, "-m", *worker, PREFORK], folder / "worker.log", environment=environment) as workers,
    ):
        yield Running(
            target=Target(port=port),
            groups={"api": [api], "workers": [workers.pid], "broker": [broker.pid], "store": [store.pid]},
            settled=lambda n: int(store.ask("DBSIZE")) >= n,
        )
    broker.drop_vhost()


@contextmanager
def postfix(_: Servers, folder: Path, relay_port: int, options: Options) -> Iterator[Running]:
    """Postfix as it is installed, told to hand everything to the sink."""
    with private_postfix(relay_port, strict=False) as server:  # `smtp-source` says no full name
        yield Running(
            groups={"all in one": [server.pid]},
            settled=lambda n: server.log().count("status=sent") >= n,
            submitter=lambda n: SmtpSource(server.port, n, connections=options.connections),
        )


@contextmanager
def _uvicorn(app: str, port: int, folder: Path, environment: dict[str, str]) -> Iterator[int]:
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--no-access-log", "--log-level", "warning"]
    with started(command, folder / "api.log", environment=environment, port=port) as process:
        yield process.pid
