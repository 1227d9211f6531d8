"""The outermost layer: request ids, slashes, load, and an answer of the one shape for whatever goes wrong within."""

import logging

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postroom.api import errors
from postroom.api.bodies import ClientGone
from postroom.api.context import Context
from postroom.api.errors import Name, Refusal
from postroom.api.exchange import Exchange
from postroom.api.load import UNCOUNTED_BYTES
from postroom.api.response import Response
from postroom.api.route import Routes
from postroom.errors import StoreError, Unreadable

log = logging.getLogger(__name__)

PUBLIC = frozenset({"/livez", "/healthz", "/readyz", "/health", "/docs", "/redoc", "/openapi.json"})


class Edge:
    """In place of the framework's middleware, whose error answers have other shapes. The framework's router is asked
    only about what no handler of ours answers: the documentation, and paths and methods that do not exist."""

    def __init__(self, app: FastAPI, router: ASGIApp, *, context: Context) -> None:
        self._app = app
        self._router = router
        self._routes = app.routes
        self.handlers = Routes(app.routes)
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        path = scope["path"]
        if path.startswith("//"):  # one client wants a slash after the base URL, the others none
            scope["path"] = "/" + path.lstrip("/")
        exchange = Exchange(scope, receive)
        try:
            answer = await self.answer(exchange, send)
            if answer:
                await answer.send_to(exchange, send)
        except ClientGone:
            return
        finally:
            self._context.load.let_go(exchange)

    async def answer(self, exchange: Exchange, send: Send) -> Response | None:
        """What to send, whatever went wrong; None where the framework has sent it. Raises `ClientGone`."""
        load = self._context.load
        counted = exchange.scope["path"] not in PUBLIC
        try:
            if counted:
                load.enter()
            try:
                handler = self.handlers.find(exchange)
                answer = await (handler(self._context, exchange) if handler else self._ask_framework(exchange, send))
            finally:
                if counted:
                    load.leave()
            if answer and len(answer.body) > UNCOUNTED_BYTES:
                load.hold(exchange, len(answer.body))
        except ClientGone:
            raise
        except Exception as error:
            refusal = await self._refusal_of(error, exchange)
            return errors.answer(refusal, request_id=exchange.request_id, accept=exchange.headers.get(b"accept", b""))
        return answer

    async def _ask_framework(self, exchange: Exchange, send: Send) -> None:
        """Has the framework answer, or raise."""
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *exchange.added]
            await send(message)

        try:
            exchange.scope["app"] = self._app
            await self._router(exchange.scope, exchange.receive, send_on)
        except Exception as error:
            if not started:
                raise
            await self._refusal_of(error, exchange)  # logs it; the server sees that the answer stays incomplete

    async def _refusal_of(self, error: Exception, exchange: Exchange) -> Refusal:
        if isinstance(error, HTTPException):
            return await self._astray(error, exchange)
        refusal = errors.refusal_of(error)
        if refusal is None:
            log.error("unexpected error", exc_info=_nameless(error), extra={"request_id": exchange.request_id})
            return errors.unexpected()
        if isinstance(error, StoreError):
            event = "email unreadable" if isinstance(error, Unreadable) else "store unavailable"
            log.error(event, extra={"reason": str(error)})
        return refusal

    async def _astray(self, error: HTTPException, exchange: Exchange) -> Refusal:
        """What the router says of a path or a method that it does not know; the key is judged first."""
        try:
            if exchange.scope["path"] not in PUBLIC:
                await self._context.authenticator.admit(exchange)
        except Exception as refused:
            return errors.refusal_of(refused) or errors.unexpected()
        if error.status_code == 405:
            methods = ", ".join(self._methods(exchange.scope))
            message = f"this path takes only {methods}"
            return Refusal(405, Name.METHOD_NOT_ALLOWED, message, headers={"allow": methods})
        return errors.not_served()

    def _methods(self, scope: Scope) -> list[str]:
        found: set[str] = set()
        for route in self._routes:
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
                found |= route.methods or set()
        return sorted(found)


def _nameless(error: BaseException) -> BaseException:
    """The error with its traceback and its causes, but without its words, which may repeat what a client sent."""
    copy = RuntimeError(type(error).__name__).with_traceback(error.__traceback__)
    if error.__cause__:
        copy.__cause__ = _nameless(error.__cause__)
    elif error.__context__ and not error.__suppress_context__:
        copy.__context__ = _nameless(error.__context__)
    return copy
