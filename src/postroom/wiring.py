"""Settings in, a working Postroom out: the only place that picks adapters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from postroom.errors import SettingsError
from postroom.intake import Intake
from postroom.metrics import Numbers
from postroom.queue.base import Queue
from postroom.queue.memory import MemoryQueue
from postroom.queue.publisher import Publisher
from postroom.settings import SQLITE, Settings
from postroom.store.base import Store
from postroom.store.counted import counted as counted_store
from postroom.store.sqlite import SqliteStore, refuse_unmakable
from postroom.transport.base import Transport
from postroom.transport.counted import counted as counted_transport
from postroom.transport.simulated import SimulatedTransport
from postroom.transport.smtp import Relay, SmtpTransport, Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Postroom:
    """The parts of one process, started and closed together."""

    settings: Settings
    store: Store
    queue: Queue
    transport: Transport
    publisher: Publisher
    intake: Intake
    numbers: Numbers | None = None

    @property
    def clock(self) -> Callable[[], datetime]:
        """The store's clock."""
        return self.store.clock

    @property
    def wake_ups(self) -> MemoryQueue:
        """The queue of an embedded worker, which takes from it in the same process."""
        assert isinstance(self.queue, MemoryQueue)
        return self.queue

    def start(self) -> None:
        """Begins to accept."""
        self.publisher.start()
        self.intake.start()

    def close(self) -> None:
        """Commits and publishes what waits, then lets go of everything."""
        self.intake.close()
        self.publisher.close()
        self.queue.close()
        self.transport.close()
        self.store.close()


def build(settings: Settings, numbers: Numbers | None = None) -> Postroom:
    """Opens the parts that the settings name; what they do is counted if there are `numbers`. Raises `SettingsError` or
    `StoreError`, each with one clear sentence."""
    transport = open_transport(settings, numbers)
    store = open_store(settings, numbers)
    queue = open_queue(settings)
    publisher = Publisher(queue=queue, chunk_size=settings.chunk_size)
    return Postroom(
        settings=settings,
        store=store,
        queue=queue,
        transport=transport,
        publisher=publisher,
        intake=Intake(
            store=store,
            publisher=publisher,
            linger=timedelta(milliseconds=settings.commit_linger_ms),
            wake_up_after=timedelta(seconds=settings.wake_up_seconds),
        ),
        numbers=numbers,
    )


def open_store(settings: Settings, numbers: Numbers | None = None) -> Store:
    """The store that `POSTROOM_STORE_URL` names. Raises `StoreLocked` while another process owns it."""
    store = _open_store(settings)
    return counted_store(store, numbers) if numbers else store


def _open_store(settings: Settings) -> Store:
    """The store itself.

    What only a distributed Postroom needs is imported when it is: the embedded one runs without those packages.
    """
    if file := sqlite_file(settings):
        return SqliteStore(file)
    url = settings.store_url.get_secret_value()
    with _blaming("POSTROOM_STORE_URL"):
        if url.startswith("mongodb"):
            from postroom.store.mongo import MongoStore

            return MongoStore(url)
        from postroom.store.redis import RedisStore

        return RedisStore(url, durability=settings.redis_durability)


def check_store(settings: Settings) -> str:
    """Whether the store can be used; one that is not there is not made. Returns how it stands, raises what opening or
    using it does."""
    if file := missing_store(settings):
        refuse_unmakable(file)
        return f"new: will be created at {file.absolute()}"
    store = open_store(settings)
    try:
        store.ping()
    finally:
        store.close()
    return "can be written to"


def open_queue(settings: Settings) -> Queue:
    """In this process beside SQLite, else RabbitMQ; connects to nothing yet."""
    if is_embedded(settings):
        return MemoryQueue()
    with _blaming("POSTROOM_STORE_URL"):
        from postroom.queue.celery import CeleryQueue
    return CeleryQueue(settings.celery_broker_url.get_secret_value())


def open_celery(settings: Settings) -> Any:
    """The Celery application, for workers and for whoever looks at them; connects to nothing yet."""
    with _blaming("POSTROOM_STORE_URL"):
        from postroom.queue.celery import create_app
    return create_app(settings.celery_broker_url.get_secret_value(), _results_url(settings))


def ping_results(settings: Settings) -> str:
    """Keeps one chunk result for a moment; returns at which host. Raises `ResultsUnavailable`, or `SettingsError`."""
    _check_results_url(settings)
    app = open_celery(settings)
    from postroom.queue.celery import ping_results as ping

    where = urlsplit(_results_url(settings)).netloc.rpartition("@")[2]
    ping(app, where)
    return where


def _results_url(settings: Settings) -> str:
    return (settings.celery_result_backend or settings.store_url).get_secret_value()


def sqlite_file(settings: Settings) -> Path | None:
    """Where the store is a file."""
    url = settings.store_url.get_secret_value()
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def missing_store(settings: Settings) -> Path | None:
    """Where the store is a file that is not there. Whether it is cannot always be seen: then opening it says why."""
    file = sqlite_file(settings)
    try:
        if file:
            file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return file
    except OSError:
        pass
    return None


def is_embedded(settings: Settings) -> bool:
    """Whether one process does everything, because it owns the store."""
    return sqlite_file(settings) is not None


def require_embedded(settings: Settings, command: str) -> None:
    """Raises `SettingsError` when the command would meet other processes in the store."""
    if not is_embedded(settings):
        sentence = "is for one process, with SQLite; with MongoDB or Redis start `serve`, `worker` and `sweep`"
        raise SettingsError([f"POSTROOM_STORE_URL: `postroom {command}` {sentence}"])


def require_shared(settings: Settings, command: str) -> None:
    """Raises `SettingsError` when the command could not share the store with the other processes."""
    if is_embedded(settings):
        sentence = "needs mongodb://… or redis://…; with SQLite one process does everything: `postroom run`"
        raise SettingsError([f"POSTROOM_STORE_URL: `postroom {command}` {sentence}"])


def check_parts(settings: Settings) -> None:
    """Raises `SettingsError` for what a child process would find unusable in a URL or file; connects to nothing."""
    open_transport(settings).close()
    _check_shared_url("POSTROOM_STORE_URL", settings.store_url.get_secret_value())
    _check_results_url(settings)


def _check_results_url(settings: Settings) -> None:
    setting = "CELERY_RESULT_BACKEND" if settings.celery_result_backend else "POSTROOM_STORE_URL"
    _check_shared_url(setting, _results_url(settings))


def _check_shared_url(setting: str, url: str) -> None:
    with _blaming(setting):
        if url.startswith("mongodb"):
            from postroom.store.mongo import check_url
        else:
            from postroom.store.redis import check_url
        check_url(url)


@contextmanager
def _blaming(setting: str) -> Iterator[None]:
    """Says which setting a value is wrong in, or asks for a package that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        sentence = (
            f"needs the package {error.name}: install with its extras, pip install '/path/to/checkout[distributed]'"
        )
        raise SettingsError([f"{setting}: {sentence}"]) from None
    except ValueError as error:
        raise SettingsError([f"{setting}: {error}"]) from None


def open_transport(settings: Settings, numbers: Numbers | None = None) -> Transport:
    """The transport that `POSTROOM_RELAY_URL` names; connects to nothing yet."""
    transport = _open_transport(settings)
    return counted_transport(transport, numbers) if numbers else transport


def _open_transport(settings: Settings) -> Transport:
    url = settings.relay_url.get_secret_value()
    if url.startswith("simulated://"):
        return SimulatedTransport(
            min_seconds=settings.simulated_min_seconds,
            max_seconds=settings.simulated_max_seconds,
            capacity=settings.simulated_capacity,
        )
    timeouts = Timeouts(
        connect=settings.relay_connect_seconds,
        greeting=settings.relay_command_seconds,
        starttls=settings.relay_command_seconds,
        auth=settings.relay_command_seconds,
        command=settings.relay_command_seconds,
        body=settings.relay_body_seconds,
        dot=settings.relay_dot_seconds,
        attempt=settings.attempt_seconds,
    )
    with _blaming("POSTROOM_RELAY_URL"):
        relay = Relay.parse(
            url,
            connections=settings.relay_connections,
            ca_file=str(settings.relay_ca_file) if settings.relay_ca_file else None,
            timeouts=timeouts,
        )
    if settings.relay_ehlo_name:
        with _blaming("POSTROOM_RELAY_EHLO_NAME"):
            relay = replace(relay, ehlo_name=settings.relay_ehlo_name)
    with _blaming("POSTROOM_RELAY_CA_FILE"):
        return SmtpTransport(relay)
