"""The command that says what is wrong with the configuration, all of it at once."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any
from urllib.parse import urlsplit

import click
import httpx

from postroom import settings as settings_module
from postroom import wiring
from postroom.api.readiness import NEEDED, OK
from postroom.cli import listening
from postroom.cli.output import as_json, clear_errors, say, show
from postroom.errors import PostroomError, StoreLocked
from postroom.settings import Settings

RELAY_SECONDS = 10.0  # for which the relay may let somebody wait who looks on, at each step
RUNNING_SECONDS = 5.0  # for which a Postroom that runs may think; of its readiness it tells within three


@click.command()
@as_json
@clear_errors
def check(as_json: bool) -> None:
    """Check settings and connections.

    Reaches the store, the broker, the results, the relay and the ports, and reports every problem at once; exit code 1
    if there is any. Makes nothing. Of a Postroom that is running it tells whether emails are accepted.
    """
    settings = settings_module.load()
    parts: dict[str, Callable[[Settings], str]] = {"store": _store, "relay": _relay, "port": _port}
    if settings.metrics_address:
        parts["metrics"] = _metrics
    if not wiring.is_embedded(settings):
        parts |= {"broker": _broker, "results": _results}
    found: dict[str, dict[str, Any]] = {}
    for name, ok, what in _answers_of(parts, settings):
        found[name] = {"ok": ok, "detail": what}
        if not as_json:
            say(f"{name:<7} {'ok' if ok else 'WRONG':<6} {what}")
    if as_json:
        show(found, [], as_json=True)
    if not all(part["ok"] for part in found.values()):
        raise SystemExit(1)


def _answers_of(parts: Mapping[str, Callable[[Settings], str]], settings: Settings) -> Iterator[tuple[str, bool, str]]:
    """Name, verdict and sentence of each part, as soon as they are known; all are asked at once."""
    with ThreadPoolExecutor(len(parts)) as pool:
        asked = {pool.submit(_try, step, settings): name for name, step in parts.items()}
        for answer in as_completed(asked):
            yield asked[answer], *answer.result()


def _try(step: Callable[[Settings], str], settings: Settings) -> tuple[bool, str]:
    try:
        return True, step(settings)
    except (PostroomError, OSError, ValueError) as error:  # ValueError: what a client library says of a URL
        return False, str(error)


def _store(settings: Settings) -> str:
    try:
        return wiring.check_store(settings)
    except StoreLocked as error:
        return str(error).rpartition(": ")[0]  # in use, which is fine


def _broker(settings: Settings) -> str:
    queue = wiring.open_queue(settings)
    try:
        queue.ping()
        return f"answers; {queue.depth()} wake-ups wait"
    finally:
        queue.close()


def _results(settings: Settings) -> str:
    return f"are kept at {wiring.ping_results(settings)}"


def _relay(settings: Settings) -> str:
    shorter = {
        "relay_connect_seconds": min(settings.relay_connect_seconds, RELAY_SECONDS),
        "relay_command_seconds": min(settings.relay_command_seconds, RELAY_SECONDS),
    }
    transport = wiring.open_transport(settings.model_copy(update=shorter))
    try:
        transport.ping()
    finally:
        transport.close()
    return f"{transport.relay} answers"


def _port(settings: Settings) -> str:
    """Raises `OSError` where the port is neither free nor that of a Postroom that accepts emails."""
    where = f"{settings.host}:{settings.port}"
    reason = _cannot_listen(settings.host, settings.port)
    if not reason:
        return f"{where} is free"
    running = f"{where} is where a Postroom is running already"
    if not (parts := _parts_of_running(settings)):
        raise OSError(f"{where} cannot be listened on ({reason})")
    trouble = "; ".join(f"{name} {state}" for name, state in parts.items() if state != OK)
    if NEEDED & {name for name, state in parts.items() if state != OK}:
        raise OSError(f"{running}, which accepts no emails: {trouble}")
    return f"{running}; {trouble}" if trouble else running


def _metrics(settings: Settings) -> str:
    where = urlsplit(f"//{settings.metrics_address}")
    reason = _cannot_listen(where.hostname or "", where.port or 0)
    if not reason:
        return f"{where.netloc} is free"
    if "postroom_info" in _page(f"http://{where.netloc}/metrics"):
        return f"{where.netloc} is where a Postroom shows its numbers already"
    raise OSError(f"{where.netloc} cannot be listened on ({reason})")


def _cannot_listen(host: str, port: int) -> str:
    """Why not; empty if it can be."""
    try:
        with listening.bound(host, port):
            return ""
    except OSError as error:
        return listening.reason(error)


def _parts_of_running(settings: Settings) -> Mapping[str, str]:
    """How the parts of the Postroom at this address are; nothing where there is none."""
    address = listening.address_of(settings.host, settings.port)
    try:
        if json.loads(_page(f"{address}/livez")) == {"status": OK}:
            return dict(json.loads(_page(f"{address}/readyz"))["parts"])
    except (ValueError, KeyError, TypeError):
        pass
    return {}


def _page(url: str) -> str:
    """What is there, with whatever status; empty where nobody answers."""
    try:
        return httpx.get(url, timeout=RUNNING_SECONDS, trust_env=False).text
    except (httpx.HTTPError, httpx.InvalidURL):
        return ""
