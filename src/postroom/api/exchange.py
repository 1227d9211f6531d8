"""One request and what goes back with its answer whatever it is: what handlers are given of HTTP."""

import os
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import uuid_utils
from starlette.types import Receive, Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from postroom.api.http.cycle import Cycle
from postroom.api.patience import SECONDS
from postroom.errors import OutcomeUnknown, StoreError, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class Exchange:
    """The request's headers by name, its id, headers to add to the answer, the bytes that it holds, the id of its key
    once that is known, `path_id`: the part of the path that names one thing, and `patience`: how many seconds the store
    may still take. `cycle` is there where our own HTTP protocol serves it. The framework's own request does more, at
    several times the cost."""

    __slots__ = (
        "added", "cycle", "headers", "held_bytes", "key_id", "path_id", "patience", "receive", "request_id", "scope",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        cycle = getattr(receive, "__self__", None)
        self.cycle = cycle if isinstance(cycle, Cycle) else None
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        given = self.headers.get(b"x-request-id")
        self.request_id = given.decode() if given and _SANE_ID.fullmatch(given) else str(uuid_utils.uuid4())
        self.added: list[tuple[bytes, bytes]] = [(b"x-request-id", self.request_id.encode())]
        self.held_bytes = 0
        self.key_id = ""
        self.path_id = ""
        self.patience = SECONDS

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header, for those that must not be given twice."""
        if len(self.headers) == len(self.scope["headers"]):
            return [self.headers[name]] if name in self.headers else []
        return [value for given, value in self.scope["headers"] if given == name]

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Asks the store, off the event loop. Raises as the question does; `StoreUnavailable` when patience ends."""
        return await self.wait(self._in_thread(partial(question, *args, **kwargs), StoreUnavailable))

    async def change(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Has the store change something, off the event loop. Raises as the step does; `OutcomeUnknown` when patience
        ends."""
        return await self.wait(self._in_thread(partial(step, *args, **kwargs), OutcomeUnknown))

    async def wait(self, coming: Awaitable[T]) -> T:
        """Waits for something of the store, at the cost of patience."""
        began = time.monotonic()
        try:
            return await coming
        finally:
            self.patience -= time.monotonic() - began

    async def _in_thread(self, step: Callable[[], T], late: type[StoreError]) -> T:
        with anyio.move_on_after(self.patience):
            return await anyio.to_thread.run_sync(step, abandon_on_cancel=True)
        raise late("the store is slow")

    async def client(self) -> str:
        """The address of the client, '' where there is none. Behind a proxy that is trusted (`FORWARDED_ALLOW_IPS`, as
        uvicorn has it) it is what that proxy says."""
        await _FORWARDED(self.scope, self.receive, _nowhere)  # type: ignore[arg-type]  # changes the scope, and no more
        client = self.scope.get("client")
        return str(client[0]) if client else ""


async def _nowhere(*_: object) -> None:
    """An application, and what it would send."""


_FORWARDED = ProxyHeadersMiddleware(_nowhere, trusted_hosts=os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1"))
