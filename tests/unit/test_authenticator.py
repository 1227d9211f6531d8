"""The authenticator asks the store in a thread, and only about what can be a key; nobody else waits for the answer."""

import asyncio
import threading
from datetime import UTC, datetime
from typing import cast

import pytest

from postroom.api.auth import Authenticator
from postroom.api.errors import Refusal
from postroom.api.exchange import Exchange
from postroom.mail import api_key
from postroom.mail.api_key import ApiKey
from postroom.store.base import Store


class Watched:
    """A store without keys that notes in which threads it is asked."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def find_key(self, _: str) -> ApiKey | None:
        self.threads.append(threading.current_thread())
        return None

    def clock(self) -> datetime:
        self.threads.append(threading.current_thread())
        return datetime(2026, 1, 1, tzinfo=UTC)


async def _nothing() -> dict[str, object]:
    return {}


def admit(store: Watched, token: str) -> None:
    """Comes with this key."""
    headers = [(b"authorization", f"Bearer {token}".encode())]
    exchange = Exchange({"type": "http", "headers": headers, "client": ("127.0.0.1", 1)}, _nothing)
    with pytest.raises(Refusal, match="the API key is invalid"):
        asyncio.run(Authenticator(cast(Store, store), rate_limit=0).admit(exchange))


def test_store_is_not_asked_on_the_event_loop() -> None:
    store = Watched()
    admit(store, api_key.mint()[1])
    assert store.threads
    assert threading.main_thread() not in store.threads


def test_store_is_not_asked_about_what_is_no_key() -> None:
    store = Watched()
    admit(store, "nonsense")
    assert store.threads == []
