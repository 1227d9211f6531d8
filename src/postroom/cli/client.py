"""The commands' side of the HTTP API."""

from typing import Any
from urllib.parse import quote

import click
import httpx
from click.core import ParameterSource

from postroom.cli.output import fail
from postroom.errors import ServiceUnreachable

url_option = click.option(
    "--url", envvar="POSTROOM_API_URL", default="http://127.0.0.1:8022", show_default=True, help="Address of the API."
)


def as_header(value: str, name: str) -> str:
    """The value, if an HTTP header can carry it. Ends the process with a sentence that shows no value if not, or if it
    is empty."""
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        problem = "has a character that an HTTP header cannot carry where it stands" if value else "is empty"
        fail(f"{name} {problem}", code=2)
    return value


def _api_key(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """Without the white space that comes with copying it, or from a file; None if nothing is left."""
    key = (given or "").strip()
    return as_header(key, "the API key (--key or POSTROOM_API_KEY)") if key else None


key_option = click.option(
    "--key", envvar="POSTROOM_API_KEY", callback=_api_key, help="API key; better given as POSTROOM_API_KEY."
)


def url_given() -> bool:
    """Whether the address came from the command line or the environment, and is not the default."""
    source = click.get_current_context().get_parameter_source("url")
    return source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def path_of(collection: str, one: str, *more: str) -> str:
    """The path of one of them, whatever is in its name."""
    return "/".join(("", collection, quote(one, safe="", errors="surrogateescape"), *more))


def call(method: str, path: str, **arguments: Any) -> Any:
    """Makes one request, as `request` does, and returns the decoded answer. Ends the process with a sentence when it is
    refused."""
    return _decoded(request(method, path, **arguments))


def request(
    method: str,
    path: str,
    *,
    url: str,
    key: str | None,
    body: Any = None,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Makes one request. Raises `ServiceUnreachable` where nobody answers; ends the process with a sentence where there
    is no key, or HTTP cannot carry something."""
    if not key:
        fail(
            "no API key: set POSTROOM_API_KEY to the key that `postroom run` printed at its first start; "
            "if it is lost, stop that and run `postroom keys create`",
            code=2,
        )
    headers = {"Authorization": f"Bearer {key}", **(headers or {})}
    try:
        return httpx.request(
            method, url.rstrip("/") + path, json=body, params=query, headers=headers, timeout=30, trust_env=False
        )
    except UnicodeError:
        fail("an argument or the input is not UTF-8, or has a character that HTTP cannot carry where it stands", code=2)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServiceUnreachable(f"cannot reach {url} ({error}); is `postroom run` running?") from error


def _decoded(answer: httpx.Response) -> Any:
    try:
        content = answer.json()
    except ValueError:
        fail(f"the answer is not JSON (HTTP {answer.status_code}); is this address a Postroom?")
    if answer.is_success:
        return content
    message = content.get("message", "no reason given") if isinstance(content, dict) else "no reason given"
    fail(f"{message} (HTTP {answer.status_code})")
