"""The application: every path with its handler and its documentation. Starts and stops nothing."""

from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp

from postroom.api import answers, emails, health, keys, openapi, submissions
from postroom.api.auth import Authenticator
from postroom.api.commits import Commits
from postroom.api.desk import Desk
from postroom.api.edge import Edge
from postroom.api.load import Backlog, Load
from postroom.api.openapi import refusals, takes
from postroom.api.readiness import Readiness
from postroom.api.reads import Reads
from postroom.api.route import Handler, Route
from postroom.api.schemas import ApiKeyIn, EmailIn, ScheduleIn
from postroom.wiring import Postroom, is_embedded


def create_app(postroom: Postroom) -> FastAPI:
    """The application for a Postroom, which its caller starts before and closes after."""
    settings = postroom.settings
    app = _Application(
        title="Postroom",
        docs_url="/docs" if settings.docs else None,
        redoc_url="/redoc" if settings.docs else None,
        openapi_url="/openapi.json" if settings.docs else None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.desk = Desk(
        postroom=postroom,
        authenticator=Authenticator(postroom.store, rate_limit=settings.rate_limit),
        load=Load(most=settings.max_requests, most_bytes=settings.max_bytes_under_way),
        backlog=Backlog(postroom.store.backlog, most=settings.max_backlog),
        readiness=Readiness(
            store=postroom.store,
            intake=postroom.intake,
            queue=None if is_embedded(settings) else postroom.queue,
        ),
        commits=Commits(postroom.intake),
        reads=Reads(postroom.store),
    )
    app.openapi = openapi.document(app, settings)  # type: ignore[method-assign]  # the way that FastAPI documents
    _route_submissions(app)
    _route_emails(app)
    _route_keys(app)
    _route_health(app)
    return app


class _Application(FastAPI):
    """FastAPI for the routes and their document; a request passes nothing but the edge."""

    def build_middleware_stack(self) -> ASGIApp:
        """In place of the framework's seven layers, whose error answers have other shapes."""
        router = Router(self.routes, redirect_slashes=False)
        return Edge(self, router, desk=self.state.desk)


def _add(app: FastAPI, method: str, path: str, handler: Handler, model: Any, **documented: Any) -> None:
    """Adds a route; its summary is the first line of the handler's docstring."""
    summary = (handler.__doc__ or "").splitlines()[0].rstrip(".")
    route = Route(path, handler, methods=[method], response_model=model, summary=summary, **documented)
    app.router.routes.append(route)


def _route_submissions(app: FastAPI) -> None:
    about = {"tags": ["Emails"]}
    also_202 = {202: {"description": "The same, for those who prefer it.", "model": answers.AcceptedEmail}}
    _add(
        app,
        "POST",
        "/emails",
        submissions.submit,
        answers.AcceptedEmail,
        responses=refusals(*openapi.BODY, 409) | also_202,
        openapi_extra=takes(EmailIn) | openapi.parameters(openapi.IDEMPOTENCY, openapi.PREFER),
        **about,
    )
    batch = answers.AcceptedBatch | answers.PermissiveBatch
    _add(
        app,
        "POST",
        "/emails/batch",
        submissions.submit_batch,
        batch,
        responses=refusals(*openapi.BODY, 409) | {202: {"description": also_202[202]["description"], "model": batch}},
        openapi_extra=takes(EmailIn, many=True)
        | openapi.parameters(openapi.IDEMPOTENCY, openapi.VALIDATION, openapi.PREFER),
        **about,
    )


def _route_emails(app: FastAPI) -> None:
    about = {"tags": ["Emails"]}
    found = refusals(404)
    touched = refusals(404, 422)
    by_id = openapi.parameters(openapi.EMAIL_ID)
    message = {200: {"content": {"message/rfc822": {"schema": {"type": "string"}}}, "description": "The message."}}
    for word in ("metrics", "receiving"):
        _add(app, "GET", f"/emails/{word}", emails.reserved, None, include_in_schema=False)
    _add(
        app,
        "GET",
        "/emails",
        emails.list_page,
        answers.EmailList,
        responses=touched,
        openapi_extra=openapi.parameters(*openapi.PAGE),
        **about,
    )
    _add(app, "GET", "/emails/{id}", emails.read, answers.EmailOut, responses=found, openapi_extra=by_id, **about)
    _add(
        app,
        "PATCH",
        "/emails/{id}",
        emails.reschedule,
        answers.TouchedEmail,
        responses=refusals(404, *openapi.BODY),
        openapi_extra=by_id | takes(ScheduleIn),
        **about,
    )
    for step, handler in (("cancel", emails.cancel), ("retry", emails.retry)):
        _add(
            app,
            "POST",
            f"/emails/{{id}}/{step}",
            handler,
            answers.TouchedEmail,
            responses=touched,
            openapi_extra=by_id,
            **about,
        )
    _add(
        app,
        "GET",
        "/emails/{id}/events",
        emails.read_events,
        answers.EventList,
        responses=found,
        openapi_extra=by_id,
        **about,
    )
    _add(
        app,
        "GET",
        "/emails/{id}/raw",
        emails.read_raw,
        None,
        responses=found | message,
        openapi_extra=by_id,
        response_class=Response,
        **about,
    )


def _route_keys(app: FastAPI) -> None:
    about = {"tags": ["API keys"]}
    _add(
        app,
        "POST",
        "/api-keys",
        keys.create,
        answers.NewApiKey,
        status_code=201,
        responses=refusals(*openapi.BODY),
        openapi_extra=takes(ApiKeyIn),
        **about,
    )
    _add(app, "GET", "/api-keys", keys.list_all, answers.ApiKeyList, responses=refusals(), **about)
    _add(
        app,
        "DELETE",
        "/api-keys/{id}",
        keys.revoke,
        answers.RevokedApiKey,
        responses=refusals(404),
        openapi_extra=openapi.parameters(openapi.KEY_ID),
        **about,
    )


def _route_health(app: FastAPI) -> None:
    about = {"tags": ["Health"]}
    for path, handler, model in (
        ("/livez", health.live, answers.Liveness),
        ("/healthz", health.live, answers.Liveness),
        ("/readyz", health.ready, answers.Readiness),
        ("/health", health.health, answers.Health),
    ):
        down: Any = {503: {"description": "Too many connections.", "model": answers.Refused}}
        if model is not answers.Liveness:
            down = {503: {"description": "Not ready, or too many connections.", "model": model | answers.Refused}}
        _add(app, "GET", path, handler, model, responses=down, **about)
        _add(app, "HEAD", path, handler, None, include_in_schema=False)  # what some health checks send
