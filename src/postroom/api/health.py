"""Is it alive, is it ready, how does it go: for orchestrators and people, without a key and without a secret."""

import asyncio
import time
from collections.abc import Mapping

from postroom import __version__
from postroom.api.context import Context
from postroom.api.exchange import Exchange
from postroom.api.readiness import NEEDED, OK
from postroom.api.response import Response, as_json


async def live(context: Context, exchange: Exchange) -> Response:
    """Says that the process answers, and nothing of what it depends on."""
    return as_json({"status": "ok"})


async def ready(context: Context, exchange: Exchange) -> Response:
    """Says whether emails can be accepted now; `degraded` and still 200 while only the broker is missing."""
    parts = await context.readiness.parts()
    return _respond({"parts": parts}, parts)


async def health(context: Context, exchange: Exchange) -> Response:
    """Readiness, the relay where this process delivers, version, uptime and load."""
    parts, backlog = await asyncio.gather(context.readiness.all_parts(), context.backlog.reading())
    details = {
        "parts": parts,
        "version": __version__,
        "uptime_seconds": int(time.monotonic() - context.began_at),
        "requests_under_way": context.load.under_way,
        "backlog": backlog,
    }
    return _respond(details, parts)


def _respond(details: Mapping[str, object], parts: Mapping[str, str]) -> Response:
    missing = {name for name, state in parts.items() if state != OK}
    if missing & NEEDED:
        return as_json({"status": "unavailable", **details}, 503)
    return as_json({"status": "degraded" if missing else OK, **details})
