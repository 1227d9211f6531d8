"""Every path of the API with its handler and its documentation."""

from collections.abc import Iterator
from typing import Any

from starlette.responses import Response

from postroom.api import emails, health, keys, openapi, response_schemas, submissions
from postroom.api.openapi import refusals, takes
from postroom.api.route import Handler, Route
from postroom.api.schemas import ApiKeyIn, EmailIn, ScheduleIn


def routes() -> list[Route]:
    """Every path with its method, its handler and its documentation."""
    return [*_of_submissions(), *_of_emails(), *_of_one_email(), *_of_keys(), *_of_health()]


def _route(method: str, path: str, handler: Handler, model: Any, **documented: Any) -> Route:
    """A route, whose summary is the first line of the handler's docstring."""
    summary = (handler.__doc__ or "").splitlines()[0].rstrip(".")
    return Route(path, handler, methods=[method], response_model=model, summary=summary, **documented)


def _of_submissions() -> Iterator[Route]:
    about = {"tags": ["Emails"]}
    also_202 = {
        202: {
            "description": "As 200, for requests with `Prefer: respond-async`.",
            "model": response_schemas.AcceptedEmail,
        }
    }
    yield _route(
        "POST",
        "/emails",
        submissions.submit,
        response_schemas.AcceptedEmail,
        responses=refusals(*openapi.BODY, 409) | also_202,
        openapi_extra=takes(EmailIn) | openapi.parameters(openapi.IDEMPOTENCY, openapi.PREFER),
        **about,
    )
    batch = response_schemas.AcceptedBatch | response_schemas.PermissiveBatch
    yield _route(
        "POST",
        "/emails/batch",
        submissions.submit_batch,
        batch,
        responses=refusals(*openapi.BODY, 409) | {202: {"description": also_202[202]["description"], "model": batch}},
        openapi_extra=takes(EmailIn, many=True)
        | openapi.parameters(openapi.IDEMPOTENCY, openapi.VALIDATION, openapi.PREFER),
        **about,
    )


def _of_emails() -> Iterator[Route]:
    for word in ("metrics", "receiving"):
        yield _route("GET", f"/emails/{word}", emails.reserved, None, include_in_schema=False)
    yield _route(
        "GET",
        "/emails",
        emails.list_page,
        response_schemas.EmailList,
        responses=refusals(404, 422),
        openapi_extra=openapi.parameters(*openapi.PAGE),
        tags=["Emails"],
    )


def _of_one_email() -> Iterator[Route]:
    about = {"tags": ["Emails"]}
    found = refusals(404)
    by_id = openapi.parameters(openapi.EMAIL_ID)
    octets = {"type": "string", "format": "binary"}
    message = {200: {"content": {"message/rfc822": {"schema": octets}}, "description": "The message."}}
    yield _route(
        "GET", "/emails/{id}", emails.read, response_schemas.EmailOut, responses=found, openapi_extra=by_id, **about
    )
    yield _route(
        "PATCH",
        "/emails/{id}",
        emails.reschedule,
        response_schemas.ChangedEmail,
        responses=refusals(404, *openapi.BODY),
        openapi_extra=by_id | takes(ScheduleIn),
        **about,
    )
    for step, handler in (("cancel", emails.cancel), ("retry", emails.retry)):
        yield _route(
            "POST",
            f"/emails/{{id}}/{step}",
            handler,
            response_schemas.ChangedEmail,
            responses=refusals(404, 422),
            openapi_extra=by_id,
            **about,
        )
    yield _route(
        "GET",
        "/emails/{id}/events",
        emails.read_events,
        response_schemas.EventList,
        responses=found,
        openapi_extra=by_id,
        **about,
    )
    yield _route(
        "GET",
        "/emails/{id}/raw",
        emails.read_raw,
        None,
        responses=found | message,
        openapi_extra=by_id,
        response_class=Response,
        **about,
    )


def _of_keys() -> Iterator[Route]:
    about = {"tags": ["API keys"]}
    yield _route(
        "POST",
        "/api-keys",
        keys.create,
        response_schemas.NewApiKey,
        status_code=201,
        responses=refusals(*openapi.BODY),
        openapi_extra=takes(ApiKeyIn),
        **about,
    )
    yield _route(
        "GET",
        "/api-keys",
        keys.list_all,
        response_schemas.ApiKeyList,
        responses=refusals(422),
        openapi_extra=openapi.parameters(*openapi.KEYS),
        **about,
    )
    yield _route(
        "DELETE",
        "/api-keys/{id}",
        keys.revoke,
        response_schemas.RevokedApiKey,
        responses=refusals(404),
        openapi_extra=openapi.parameters(openapi.KEY_ID),
        **about,
    )


def _of_health() -> Iterator[Route]:
    about = {"tags": ["Health"]}
    for path, handler, model in (
        ("/livez", health.live, response_schemas.Liveness),
        ("/healthz", health.live, response_schemas.Liveness),
        ("/readyz", health.ready, response_schemas.Readiness),
        ("/health", health.health, response_schemas.Health),
    ):
        down: Any = {503: {"description": "Too many connections.", "model": response_schemas.Error}}
        if model is not response_schemas.Liveness:
            down = {
                503: {"description": "Not ready, or too many connections.", "model": model | response_schemas.Error}
            }
        yield _route("GET", path, handler, model, responses=down, **about)
        yield _route("HEAD", path, handler, None, include_in_schema=False)  # what some health checks send
