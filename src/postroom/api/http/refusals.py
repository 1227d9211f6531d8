"""Refusals that the HTTP protocol gives in place of the application, in the shape of all others."""

from collections.abc import Iterable

import uuid_utils
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from postroom.api import errors
from postroom.api.errors import Name, Refusal


def malformed(message: str) -> Refusal:
    """400."""
    return Refusal(400, Name.VALIDATION_ERROR, message)


def too_slow(message: str) -> Refusal:
    """408."""
    return Refusal(408, Name.VALIDATION_ERROR, message)


def head_too_large() -> Refusal:
    """431."""
    return Refusal(431, Name.VALIDATION_ERROR, "the request head is too large")


def written(refusal: Refusal, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The whole answer as it goes over the wire; the connection closes after it."""
    request_id = str(uuid_utils.uuid4())
    body = errors.body_of(refusal, request_id)
    headers = [
        *default_headers,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
        *((name.encode(), value.encode()) for name, value in refusal.headers.items()),
    ]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[refusal.status] + lines + b"\r\n" + body
