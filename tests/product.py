"""The product with every part real, in a folder of its own, on a free port of the loopback interface.

The API is served by this process. With SQLite so is delivery; around RabbitMQ a worker and a sweep are started for it.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from postroom import keyring, settings, wiring
from postroom.api import server
from postroom.api.app import create_app
from postroom.mail.api_key import FULL_ACCESS, Scope
from postroom.wiring import Postroom
from postroom.worker.embedded import EmbeddedWorker
from tests.engines import Engine
from tests.fleet import Fleet

DEADLINE_SECONDS = 20.0
ACCOUNT = keyring.DEFAULT_ACCOUNT
EMAIL = {"from": "Ann <ann@example.com>", "to": "bob@example.net", "subject": "Hello", "text": "Hello, Bob."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A running Postroom: where it listens, a key that may do everything, its parts, and the processes that deliver."""

    engine: Engine
    base_url: str
    port: int
    key: str
    postroom: Postroom
    fleet: Fleet | None
    clients: dict[str, httpx.Client] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, key: str | None = None) -> httpx.Client:
        """An HTTP client with that key, or the one that may do everything, or with none for ''; close it."""
        token = self.key if key is None else key
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(
            base_url=self.base_url, headers=headers, timeout=DEADLINE_SECONDS, trust_env=False, verify=False
        )

    def request(self, method: str, path: str, *, key: str | None = None, **arguments: Any) -> httpx.Response:
        """One request, with a client that is kept for the next one with that key."""
        name = self.key if key is None else key
        with self.lock:
            if name not in self.clients:
                self.clients[name] = self.client(key)
        return self.clients[name].request(method, path, **arguments)

    def submit(self, **members: Any) -> str:
        """Submits one email, sensible but for `members` (`sender` stands for `from`), and returns its id."""
        if "sender" in members:
            members["from"] = members.pop("sender")
        answer = self.request("POST", "/emails", json=EMAIL | members)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def email(self, email_id: str) -> dict[str, Any]:
        """What the API tells of an email."""
        answer = self.request("GET", f"/emails/{email_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def count(self) -> int:
        """How many emails the store holds, in any state and account."""
        return sum(self.postroom.store.counts().values())

    def wait_for(self, email_id: str, *statuses: str) -> dict[str, Any]:
        """Waits until the email has one of these statuses."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (email := self.email(email_id))["status"] not in statuses:
            assert time.monotonic() < deadline, f"still {email['status']}, not {statuses}"
            time.sleep(0.02)
        return email

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits until the condition holds."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "in vain"
            time.sleep(0.02)

    def make_key(self, *, account: str = ACCOUNT, scopes: frozenset[Scope] = FULL_ACCESS, **more: Any) -> str:
        """Another key; returns its token."""
        return keyring.create(account, "test", scopes=scopes, store=self.postroom.store, **more)[1]


@contextmanager
def running(
    engine: Engine,
    folder: Path,
    *,
    relay: str = "simulated://",
    deliver: bool = True,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Product]:
    """Runs the product until the block ends; in the same folder it finds its emails again. The relay is simulated and
    takes no time, or an `smtp://` URL; without `deliver` emails are accepted and stay where they are. `environ` has
    further `POSTROOM_` settings."""
    variables = {
        "POSTROOM_STORE_URL": engine.store_url(folder),
        "POSTROOM_RELAY_URL": relay,
        "POSTROOM_SIMULATED_MIN_SECONDS": "0",
        "POSTROOM_SIMULATED_MAX_SECONDS": "0",
        "POSTROOM_STOP_SECONDS": "2",
        "POSTROOM_SWEEP_SECONDS": "0.2",
        **(environ or {}),
    }
    with engine.broker() as broker:
        variables |= {"CELERY_BROKER_URL": broker} if broker else {}
        with closing(wiring.build(settings.load(variables))) as postroom:
            postroom.start()
            key = keyring.create(ACCOUNT, "test", scopes=FULL_ACCESS, store=postroom.store)[1]
            delivering: AbstractContextManager[Fleet | None] = nullcontext()
            if deliver:
                delivering = _fleet(folder, variables) if broker else _embedded_worker(postroom)
            with delivering as fleet, _serving(postroom) as port:
                product = Product(
                    engine=engine,
                    base_url=f"http://127.0.0.1:{port}",
                    port=port,
                    key=key,
                    postroom=postroom,
                    fleet=fleet,
                )
                try:
                    yield product
                finally:
                    for client in product.clients.values():
                        client.close()


@contextmanager
def _embedded_worker(postroom: Postroom) -> Iterator[None]:
    with closing(EmbeddedWorker(postroom)) as worker:
        worker.start()
        yield


@contextmanager
def _fleet(folder: Path, variables: Mapping[str, str]) -> Iterator[Fleet]:
    """A worker and a sweep, each a process of its own."""
    named = {name.removeprefix("POSTROOM_").lower(): value for name, value in variables.items()}
    with closing(Fleet(folder, broker_url=named.pop("celery_broker_url"), **named)) as fleet:
        fleet.start("postroom", "sweep")
        fleet.worker()
        yield fleet


@contextmanager
def _serving(postroom: Postroom) -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    serving = server.server(create_app(postroom), postroom.settings)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]}, name="server")
    port = int(listening.getsockname()[1])
    thread.start()
    try:
        _wait_until_started(serving, thread)
        yield port
    finally:
        serving.should_exit = True
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive(), "the server does not stop"


def _wait_until_started(serving: Any, thread: threading.Thread) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not serving.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.005)
