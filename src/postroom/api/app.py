"""The application: its parts, its paths and its documentation. Starts and stops nothing."""

from fastapi import FastAPI
from starlette.routing import Router
from starlette.types import ASGIApp

from postroom.api import docs_pages, openapi
from postroom.api.auth import Authenticator
from postroom.api.commits import Commits
from postroom.api.context import Context
from postroom.api.counted import CountedEdge
from postroom.api.edge import Edge
from postroom.api.endpoints import routes
from postroom.api.load import Backlog, Load
from postroom.api.readiness import Readiness
from postroom.api.reads import Reads
from postroom.wiring import Postroom, is_embedded


def create_app(postroom: Postroom) -> FastAPI:
    """The application for a Postroom, which its caller starts before and closes after."""
    settings = postroom.settings
    app = _Application(
        title="Postroom",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.context = Context(
        postroom=postroom,
        authenticator=Authenticator(postroom.store, rate_limit=settings.rate_limit),
        load=Load(most=settings.max_requests, most_bytes=settings.max_bytes_under_way),
        backlog=Backlog(postroom.store.backlog, most=settings.max_backlog),
        readiness=Readiness(
            store=postroom.store,
            intake=postroom.intake,
            queue=None if is_embedded(settings) else postroom.queue,
            relay_is_down=(lambda: postroom.transport.is_down) if is_embedded(settings) else None,
        ),
        commits=Commits(postroom.intake),
        reads=Reads(postroom.store),
    )
    app.router.routes.extend(routes())
    if settings.docs:
        docs_pages.add(app)
    app.openapi = openapi.document(app, settings)  # type: ignore[method-assign]  # the way that FastAPI documents
    return app


class _Application(FastAPI):
    """FastAPI for the routes and their document; a request passes nothing but the edge."""

    def build_middleware_stack(self) -> ASGIApp:
        """In place of the framework's seven layers, whose error answers have other shapes."""
        router = Router(self.routes, redirect_slashes=False)
        numbers = self.state.context.postroom.numbers
        if numbers is None:
            return Edge(self, router, context=self.state.context)
        return CountedEdge(self, router, context=self.state.context, numbers=numbers)
