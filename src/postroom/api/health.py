"""Is it alive, is it ready, how does it go: for orchestrators and people, without a key and without a secret."""

import time
from collections.abc import Mapping

from starlette.requests import Request

from postroom import __version__
from postroom.api.answer import Answer, as_json
from postroom.api.desk import Desk

STARTED_AT = time.monotonic()


async def live(request: Request) -> Answer:
    """Says that the process answers, and nothing of what it depends on."""
    return as_json({"status": "ok"})


async def ready(request: Request) -> Answer:
    """Says whether emails can be accepted now."""
    parts = await Desk.of(request).readiness.parts()
    return _respond({"parts": parts}, parts)


async def health(request: Request) -> Answer:
    """Readiness, and how it goes."""
    desk = Desk.of(request)
    parts = await desk.readiness.parts()
    details = {
        "parts": parts,
        "version": __version__,
        "uptime_seconds": int(time.monotonic() - STARTED_AT),
        "requests_under_way": desk.load.under_way,
        "backlog": await desk.backlog.reading(),
    }
    return _respond(details, parts)


def _respond(details: Mapping[str, object], parts: Mapping[str, str]) -> Answer:
    fine = all(state == "ok" for state in parts.values())
    return as_json({"status": "ok" if fine else "unavailable", **details}, 200 if fine else 503)
