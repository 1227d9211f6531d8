"""The edge with its requests counted, for `/metrics`."""

import time

from fastapi import FastAPI
from starlette.types import ASGIApp, Send

from postroom import metrics
from postroom.api.context import Context
from postroom.api.edge import Edge
from postroom.api.endpoints import routes
from postroom.api.exchange import Exchange
from postroom.api.response import Response
from postroom.api.route import NOWHERE
from postroom.metrics import Family, Numbers

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OTHER = "other"


class CountedEdge(Edge):
    """Counts what it answers, by endpoint and status, and how long that takes."""

    def __init__(self, app: FastAPI, router: ASGIApp, *, context: Context, numbers: Numbers) -> None:
        super().__init__(app, router, context=context)
        self._numbers = numbers

    async def answer(self, exchange: Exchange, send: Send) -> Response | None:
        """See `Edge.answer`; what the framework itself sends, its documentation, is not counted."""
        began = time.monotonic()
        answer = await super().answer(exchange, send)
        if answer:
            path = self.handlers.path(exchange)
            method: str = exchange.scope["method"]
            if path is NOWHERE and method not in _METHODS:
                method = _OTHER
            self._numbers.add(metrics.REQUESTS, method, path, str(answer.status))
            self._numbers.observe(metrics.REQUEST_SECONDS, method, path, seconds=time.monotonic() - began)
        return answer


def families() -> tuple[Family, Family]:
    """What is counted of requests."""
    known = [(method, route.path) for route in routes() for method in sorted(route.methods or ())]
    return metrics.of_requests([*known, *((method, NOWHERE) for method in (*_METHODS, _OTHER))])
