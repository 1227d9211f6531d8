"""The authenticator asks the store in a thread, and only about what can be a key; nobody else waits for the answer."""

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from postroom.api.auth import Authenticator
from postroom.api.errors import Refusal
from postroom.api.exchange import Exchange
from postroom.mail import api_key
from postroom.mail.api_key import ApiKey
from postroom.store.base import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Watched:
    """A store without keys that notes in which threads it is asked."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def find_key(self, _: str) -> ApiKey | None:
        self.threads.append(threading.current_thread())
        return None

    def clock(self) -> datetime:
        self.threads.append(threading.current_thread())
        return NOW


class Pausing:
    """A store with one key; `read` is set once it was read, and it is handed over after `go_on`."""

    def __init__(self, key: ApiKey) -> None:
        self.key = key
        self.read, self.go_on = threading.Event(), threading.Event()

    def find_key(self, _: str) -> ApiKey | None:
        found = self.key
        self.read.set()
        assert self.go_on.wait(10)
        return found

    def clock(self) -> datetime:
        return NOW


async def _nothing() -> dict[str, object]:
    return {}


def coming_with(token: str) -> Exchange:
    """A request with this key."""
    headers = [(b"authorization", f"Bearer {token}".encode())]
    return Exchange({"type": "http", "headers": headers, "client": ("127.0.0.1", 1)}, _nothing)


def admit(store: Watched, token: str) -> None:
    """Comes with this key."""
    with pytest.raises(Refusal, match="the API key is invalid"):
        asyncio.run(Authenticator(cast(Store, store), rate_limit=0).admit(coming_with(token)))


def test_store_is_not_asked_on_the_event_loop() -> None:
    store = Watched()
    admit(store, api_key.mint()[1])
    assert store.threads
    assert threading.main_thread() not in store.threads


def test_store_is_not_asked_about_what_is_no_key() -> None:
    store = Watched()
    admit(store, "nonsense")
    assert store.threads == []


def test_key_that_is_revoked_while_it_is_read_is_not_remembered() -> None:
    key_id, token, secret_hash = api_key.mint()
    key = ApiKey(
        id=key_id,
        account="default",
        name="test",
        scopes=api_key.FULL_ACCESS,
        domains=frozenset(),
        secret_hash=secret_hash,
        created_at=NOW,
    )
    store = Pausing(key)
    authenticator = Authenticator(cast(Store, store), rate_limit=0)

    async def scenario() -> None:
        first = asyncio.create_task(authenticator.admit(coming_with(token)))
        assert await asyncio.to_thread(store.read.wait, 10)
        store.key = replace(key, revoked_at=NOW)
        authenticator.forget(key_id)
        store.go_on.set()
        assert (await first).id == key_id
        with pytest.raises(Refusal, match="the API key is invalid"):
            await authenticator.admit(coming_with(token))

    asyncio.run(scenario())
