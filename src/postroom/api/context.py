"""What every handler needs, put together once per application: the parts of Postroom, the authenticator, the load."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

from postroom.api import bodies, strict_json
from postroom.api.auth import Authenticator
from postroom.api.commits import Commits
from postroom.api.exchange import Exchange
from postroom.api.load import Backlog, Load
from postroom.api.readiness import Readiness
from postroom.api.reads import Reads
from postroom.mail.email import Json
from postroom.wiring import Postroom

INLINE_BYTES = 256 * 1024  # what a body may have to be handled on the event loop: a few milliseconds
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One per application."""

    postroom: Postroom
    authenticator: Authenticator
    load: Load
    backlog: Backlog
    readiness: Readiness
    commits: Commits
    reads: Reads
    began_at: float = field(default_factory=time.monotonic)

    async def read_json(self, exchange: Exchange) -> Json:
        """The value of the body."""
        settings = self.postroom.settings
        body = await bodies.read(exchange, limit=settings.max_body_bytes, load=self.load)
        if len(body) <= INLINE_BYTES:  # as `work`, which costs the many small requests a step more
            return strict_json.parse(body, max_depth=settings.max_json_depth)
        return await self.work(exchange, strict_json.parse, body, max_depth=settings.max_json_depth)

    def is_small(self, exchange: Exchange) -> bool:
        """Whether this request's body may be handled on the event loop."""
        return exchange.held_bytes <= INLINE_BYTES

    async def work(self, exchange: Exchange, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Computes something of this request's body: at once when it is small, off the event loop when it is large."""
        if self.is_small(exchange):
            return job(*args, **kwargs)
        return await run_in_threadpool(job, *args, **kwargs)
