"""From a method and a path to its handler."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from fastapi.routing import APIRoute

from postroom.api.context import Context
from postroom.api.exchange import Exchange
from postroom.api.response import Response

NOWHERE = "none"
"""In place of a path that no handler has."""

Handler: TypeAlias = Callable[[Context, Exchange], Awaitable[Response]]


class Route(APIRoute):
    """A path and its handler, documented by FastAPI. Requests find the handler by `Routes`."""

    def __init__(self, path: str, handler: Handler, **documented: Any) -> None:
        async def endpoint() -> None:
            """Stands in for the handler in the documentation: a handler's parameters are none that a client gives."""

        endpoint.__name__, endpoint.__doc__ = handler.__name__, handler.__doc__
        super().__init__(path, endpoint, **documented)
        self.handler = handler


class Routes:
    """All handlers, each found by one or two look-ups: the framework's search costs more than all the rest of it.

    A path is plain, or its second part is the id of something: `/emails`, `/emails/{id}`, `/emails/{id}/retry`.
    """

    def __init__(self, routes: Iterable[object]) -> None:
        self._handlers = {
            (method, route.path): route.handler
            for route in routes
            if isinstance(route, Route)
            for method in route.methods or ()
        }

    def find(self, exchange: Exchange) -> Handler | None:
        """The handler of this request, to which its id is made known; None when no handler has this path and method."""
        method, path = exchange.scope["method"], exchange.scope["path"]
        handler = self._handlers.get((method, path))
        if handler is None:
            path, exchange.path_id = _apart(path)
            handler = self._handlers.get((method, path)) if exchange.path_id else None
        return handler

    def path(self, exchange: Exchange) -> str:
        """The path of its handler as it is documented, whatever the id in it; `NOWHERE` where it has none."""
        method, path = exchange.scope["method"], exchange.scope["path"]
        return next((one for one in (path, _apart(path)[0]) if (method, one) in self._handlers), NOWHERE)


def _apart(path: str) -> tuple[str, str]:
    """The path with `{id}` in the place of its second part, and that part."""
    things, _, rest = path[1:].partition("/")
    path_id, slash, step = rest.partition("/")
    return f"/{things}/{{id}}{slash}{step}", path_id
