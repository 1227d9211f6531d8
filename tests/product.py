"""The product in this process: every part real, in a folder of its own, on a free port, on the loopback interface."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
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

DEADLINE_SECONDS = 20.0
ACCOUNT = keyring.DEFAULT_ACCOUNT
EMAIL = {"from": "Ann <ann@example.com>", "to": "bob@example.net", "subject": "Hello", "text": "Hello, Bob."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A running Postroom: where it listens, a key that may do everything, and its parts."""

    base_url: str
    port: int
    key: str
    postroom: Postroom
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
    folder: Path, *, relay: str = "simulated://", deliver: bool = True, environ: Mapping[str, str] | None = None
) -> Iterator[Product]:
    """Runs the product until the block ends. The relay is simulated and takes no time, or an `smtp://` URL; without
    `deliver` emails are accepted and stay where they are. `environ` has further `POSTROOM_` settings."""
    configured = settings.load(
        {
            "POSTROOM_STORE_URL": f"sqlite:///{folder / 'postroom.sqlite3'}",
            "POSTROOM_RELAY_URL": relay,
            "POSTROOM_SIMULATED_MIN_SECONDS": "0",
            "POSTROOM_SIMULATED_MAX_SECONDS": "0",
            "POSTROOM_STOP_SECONDS": "2",
            **(environ or {}),
        }
    )
    with closing(wiring.build(configured)) as postroom:
        postroom.start()
        key = keyring.create(ACCOUNT, "test", scopes=FULL_ACCESS, store=postroom.store)[1]
        with _working(postroom if deliver else None), _serving(postroom) as port:
            product = Product(base_url=f"http://127.0.0.1:{port}", port=port, key=key, postroom=postroom)
            try:
                yield product
            finally:
                for client in product.clients.values():
                    client.close()


@contextmanager
def _working(postroom: Postroom | None) -> Iterator[None]:
    if postroom is None:
        yield
        return
    with closing(EmbeddedWorker(postroom)) as worker:
        worker.start()
        yield


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
