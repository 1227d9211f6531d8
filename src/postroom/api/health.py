"""Is it alive, is it ready, how does it go: for orchestrators and people, without a key and without a secret."""

import asyncio
import time
from collections.abc import Mapping

from postroom import __version__
from postroom.api.answer import Answer, as_json
from postroom.api.desk import Desk
from postroom.api.exchange import Exchange
from postroom.api.readiness import NEEDED, OK


async def live(desk: Desk, exchange: Exchange) -> Answer:
    """Says that the process answers, and nothing of what it depends on."""
    return as_json({"status": "ok"})


async def ready(desk: Desk, exchange: Exchange) -> Answer:
    """Says whether emails can be accepted now; `degraded` and still 200 while only the broker is missing."""
    parts = await desk.readiness.parts()
    return _respond({"parts": parts}, parts)


async def health(desk: Desk, exchange: Exchange) -> Answer:
    """Readiness, version, uptime and load."""
    parts, backlog = await asyncio.gather(desk.readiness.parts(), desk.backlog.reading())
    details = {
        "parts": parts,
        "version": __version__,
        "uptime_seconds": int(time.monotonic() - desk.began_at),
        "requests_under_way": desk.load.under_way,
        "backlog": backlog,
    }
    return _respond(details, parts)


def _respond(details: Mapping[str, object], parts: Mapping[str, str]) -> Answer:
    missing = {name for name, state in parts.items() if state != OK}
    if missing & NEEDED:
        return as_json({"status": "unavailable", **details}, 503)
    return as_json({"status": "degraded" if missing else OK, **details})
