"""What every handler needs, put together once per application: the parts of Postroom, the doorman, the load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from postroom.api import bodies, strict_json
from postroom.api.auth import Doorman
from postroom.api.exchange import Exchange
from postroom.api.load import Backlog, Load
from postroom.api.readiness import Readiness
from postroom.api.reads import Reads
from postroom.errors import OutcomeUnknown
from postroom.mail.api_key import ApiKey, Scope
from postroom.mail.email import Json
from postroom.store.base import Added, KeyReused, Submission
from postroom.wiring import Postroom

COMMIT_SECONDS = 2.5  # how long a submission may wait for the store; the promise is an answer in under three
SMALL_BYTES = 256 * 1024  # what a body may have to be handled on the event loop: a few milliseconds
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One per application."""

    postroom: Postroom
    doorman: Doorman
    load: Load
    backlog: Backlog
    readiness: Readiness
    reads: Reads

    @classmethod
    def of(cls, request: Request) -> Desk:
        """The desk that this request came to."""
        return cast(Desk, request.scope["app"].state.desk)

    async def admit(self, request: Request, scope: Scope | None = None) -> ApiKey:
        """The key of this request, which has the scope."""
        return await self.doorman.admit(Exchange.of(request.scope), scope)

    async def read_json(self, request: Request) -> Json:
        """The value of the body."""
        settings = self.postroom.settings
        exchange = Exchange.of(request.scope)
        body = await bodies.read(exchange, request.receive, limit=settings.max_body_bytes, load=self.load)
        return await self.work(request, strict_json.parse, body, max_depth=settings.max_json_depth)

    async def work(self, request: Request, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Computes something of this request's body: at once when it is small, off the event loop when it is large."""
        if Exchange.of(request.scope).body_bytes <= SMALL_BYTES:
            return job(*args, **kwargs)
        return await run_in_threadpool(job, *args, **kwargs)

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Asks the store, off the event loop."""
        return await run_in_threadpool(question, *args, **kwargs)

    async def submit(self, submission: Submission) -> Added | KeyReused:
        """Returns when the submission is durable. Raises `StoreError`; `OutcomeUnknown` when it takes too long."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Added | KeyReused] = loop.create_future()

        def hand_over(done: Future[Added | KeyReused]) -> None:
            loop.call_soon_threadsafe(_copy, done, answer)

        # The future of the intake is never cancelled, as asyncio.wrap_future would do when this request ends early.
        self.postroom.intake.submit(submission).add_done_callback(hand_over)
        timer = loop.call_later(COMMIT_SECONDS, _give_up, answer)
        try:
            return await answer
        finally:
            timer.cancel()


def _copy(done: Future[Added | KeyReused], answer: asyncio.Future[Added | KeyReused]) -> None:
    if answer.done():
        return
    error = done.exception()
    if error:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())


def _give_up(answer: asyncio.Future[Added | KeyReused]) -> None:
    if not answer.done():
        answer.set_exception(OutcomeUnknown("the store is slow"))
