"""The OpenAPI document: what the handlers really take and give, errors included."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import WithDefaultSchema

from postroom import __version__
from postroom.api import keys, paging
from postroom.api.response_schemas import Error, Problem
from postroom.api.schemas import ApiKeyIn, EmailIn, ScheduleIn
from postroom.mail import headers as email_headers
from postroom.mail.email import Status
from postroom.settings import Settings

Json = dict[str, Any]

_HEADERS: Mapping[str, Json] = {
    "X-Request-Id": {"schema": {"type": "string"}, "description": "The request's own, or a new one."},
    "RateLimit-Limit": {"schema": {"type": "integer"}, "description": "Requests a second, where a limit is set."},
    "RateLimit-Remaining": {"schema": {"type": "integer"}, "description": "Requests left."},
    "RateLimit-Reset": {"schema": {"type": "integer"}, "description": "Seconds until all are left again."},
    "RateLimit-Policy": {"schema": {"type": "string"}, "description": "The limit and its window of one second."},
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."},
    "WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`, where there was no key."},
    "Idempotent-Replayed": {"schema": {"const": "true"}, "description": "This answer was given before."},
    "Location": {"schema": {"type": "string"}, "description": "Where to follow what was accepted."},
    "Preference-Applied": {"schema": {"const": "respond-async"}, "description": "RFC 7240."},
}
DESCRIPTION = """
Hand an email over, get an id back at once; it is delivered in the background, retried, and accounted for.
Clients of the Resend API work unchanged with this base URL and a key of this service.
"""
_REFERENCE = "#/components/schemas/"
_BODIES: tuple[type[BaseModel], ...] = (EmailIn, ScheduleIn, ApiKeyIn)
_UUID: Json = {"type": "string", "format": "uuid"}
_TIME: Json = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}

PERMISSION = (401, 403)
ALWAYS = (400, 408, 429, 431, 500, 503)
BODY = (413, 415, 422)
_MEANING = {
    400: "The request is malformed, or its Idempotency-Key is.",
    401: "No API key, or one that may not do this.",
    403: "An unknown, revoked or expired API key; or a sender domain that it may not use.",
    404: "No such thing.",
    405: "This path does not take this method.",
    408: "The request came too slowly.",
    409: "The Idempotency-Key was used with another payload.",
    413: "The body is too large.",
    415: "The body is compressed, or not JSON.",
    422: "Something in the request is missing or invalid; `details` names the members.",
    429: "Too many requests with this key, or with wrong keys; come back after `Retry-After` seconds.",
    431: "The head of the request is too large.",
    500: "A fault of the service.",
    503: "The service cannot take this now; come back after `Retry-After` seconds.",
}


def refusals(*codes: int) -> dict[int | str, Json]:
    """Answers other than success, as they really are."""
    return {code: {"model": Error, "description": _MEANING[code]} for code in sorted({*codes, *PERMISSION, *ALWAYS})}


def takes(model: type[BaseModel], *, many: bool = False) -> Json:
    """The body of an operation, for `openapi_extra`."""
    one: Json = {"$ref": _REFERENCE + model.__name__}
    schema = {"type": "array", "items": one, "minItems": 1} if many else one
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def parameters(*found: Json) -> Json:
    """Parameters of an operation, for `openapi_extra`."""
    return {"parameters": list(found)}


def header(name: str, description: str, schema: Json) -> Json:
    """A request header."""
    return {"name": name, "in": "header", "description": description, "schema": schema}


def in_query(name: str, description: str, schema: Json) -> Json:
    """A query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def in_path(name: str, schema: Json) -> Json:
    """A path parameter."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


EMAIL_ID = in_path("id", _UUID)
KEY_ID = in_path("id", {"type": "string", "pattern": "^([0-9a-f]{12}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"})
IDEMPOTENCY = header(
    "Idempotency-Key",
    "Your word for this request. Sent again with the same payload, within 24 hours unless set otherwise, it gets the"
    " first answer back and sends nothing anew.",
    {"type": "string", "pattern": "^[!-~]([ -~]{0,254}[!-~])?$"},
)
PREFER = header("Prefer", "`respond-async` asks for 202 in place of 200.", {"type": "string"})
VALIDATION = header(
    "x-batch-validation",
    "`strict`: all or nothing. `permissive`: those that are valid.",
    {"enum": ["strict", "permissive"], "default": "strict"},
)
KEYS = (
    in_query("revoked", "Those that were revoked, too.", {"enum": ["true", "false"], "default": "false"}),
    *(in_query(name, "Without effect: there is only one page.", {"type": "string"}) for name in keys.PAGE),
)
PAGE = (
    in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": paging.MOST, "default": 20}),
    in_query("after", "Older than this email, which must be there (404). Excludes `before`.", _UUID),
    in_query("before", "Just newer than this email, which must be there (404). Excludes `after`.", _UUID),
    in_query(
        "status",
        "In one of these states, with commas between.",
        {"type": "string", "pattern": f"^({'|'.join(Status)})(,({'|'.join(Status)}))*$"},
    ),
    in_query("to", "To this address (to, cc or bcc).", {"type": "string"}),
    in_query("subject", "Subject begins with this, letter case ignored.", {"type": "string"}),
    in_query("tag", "With this tag: `name` or `name:value`.", {"type": "string"}),
    in_query("created_after", "Accepted at this time or later: ISO 8601, UTC unless it says otherwise.", _TIME),
    in_query("created_before", "Accepted before this time: ISO 8601, UTC unless it says otherwise.", _TIME),
)


def document(app: FastAPI, settings: Settings) -> Callable[[], Json]:
    """Makes the document when it is first asked for, with the limits that are set."""

    def made() -> Json:
        if not app.openapi_schema:
            found = get_openapi(
                title="Postroom", version=__version__, description=DESCRIPTION.strip(), routes=app.routes
            )
            _complete(found)
            _limit(found, settings)
            app.openapi_schema = found
        return app.openapi_schema

    return made


class _BodySchema(GenerateJsonSchema):
    """What may be left out is without the default that stands for that: with one, generated clients demand it."""

    def default_schema(self, schema: WithDefaultSchema) -> Json:
        """A member with a default."""
        return self.generate_inner(schema["schema"])


def _complete(found: Json) -> None:
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in _BODIES:
        schema = model.model_json_schema(
            ref_template=_REFERENCE + "{model}", by_alias=True, schema_generator=_BodySchema
        )
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}}
    schemas[Problem.__name__] = TypeAdapter(Problem).json_schema(ref_template=_REFERENCE + "{model}")
    schemas[Problem.__name__].pop("$defs")
    for path in found["paths"].values():
        for operation in path.values():
            if "401" in operation["responses"]:
                operation["security"] = [{"key": []}]
            for code, answer in operation["responses"].items():
                _complete_answer(int(code), answer, operation)


def _complete_answer(code: int, answer: Json, operation: Json) -> None:
    refused: Json = {"$ref": _REFERENCE + Error.__name__}
    if answer.get("content", {}).get("application/json", {}).get("schema") == refused:
        answer["content"]["application/problem+json"] = {"schema": {"$ref": _REFERENCE + Problem.__name__}}
    names = ["X-Request-Id"]
    if "security" in operation and code not in (400, 401, 403, 408, 431):
        names += ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy"]
    if code in (429, 503):
        names.append("Retry-After")
    if code == 401:
        names.append("WWW-Authenticate")
    if code < 300 and "409" in operation["responses"]:
        names += ["Idempotent-Replayed", *(["Location", "Preference-Applied"] if code == 202 else ())]
    answer["headers"] = {name: _HEADERS[name] for name in names}


def _limit(found: Json, settings: Settings) -> None:
    members = found["components"]["schemas"][EmailIn.__name__]["properties"]
    members["subject"]["maxLength"] = settings.max_subject_chars
    for name, sentence in _limits(settings).items():
        members[name]["description"] = " ".join(filter(None, (members[name].get("description"), sentence)))
    most = dict.fromkeys(("to", "cc", "bcc", "reply_to"), settings.max_recipients)
    for name, count in {**most, "attachments": settings.max_attachments}.items():
        for choice in members[name]["anyOf"]:
            if choice["type"] == "array":
                choice["maxItems"] = count
    batch = found["paths"]["/emails/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    batch["maxItems"] = settings.max_batch


def _limits(settings: Settings) -> Mapping[str, str]:
    """Limits of members that no schema can say."""
    longest = f"At most {settings.max_text_bytes:,} bytes."
    return {
        "to": f"With cc and bcc at most {settings.max_recipients}.",
        "html": longest,
        "text": longest,
        "headers": f"At most {email_headers.MAX_HEADERS}.",
        "attachments": f"Together at most {settings.max_attachment_bytes:,} bytes, decoded.",
        "metadata": f"At most {settings.max_metadata_bytes:,} bytes as JSON.",
        "scheduled_at": f"At most {settings.max_schedule_days} days ahead; a time that has passed means now.",
    }
