"""The command that says what is wrong with the configuration, all of it at once."""

import errno
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import click
import httpx

from postroom import settings as settings_module
from postroom import wiring
from postroom.cli.output import as_json, clear_errors, show
from postroom.cli.run import address_of
from postroom.errors import PostroomError, StoreLocked
from postroom.settings import Settings

LIVE_SECONDS = 3.0


@click.command()
@as_json
@clear_errors
def check(as_json: bool) -> None:
    """Check settings and connections.

    Reaches the store, the broker, the results, the relay and the port, and reports every problem at once; exit code 1
    if there is any.
    """
    settings = settings_module.load()
    parts: dict[str, Callable[[Settings], str]] = {"store": _store, "relay": _relay, "port": _port}
    if not wiring.is_embedded(settings):
        parts |= {"broker": _broker, "results": _results}
    with ThreadPoolExecutor(len(parts)) as pool:  # at once: each has a time-out of its own
        asked = {name: pool.submit(_try, step, settings) for name, step in parts.items()}
        found = {name: answer.result() for name, answer in asked.items()}
    lines = [f"{name:<7} {'ok' if ok else 'WRONG':<6} {what}" for name, (ok, what) in found.items()]
    show({name: {"ok": ok, "detail": what} for name, (ok, what) in found.items()}, lines, as_json=as_json)
    if not all(ok for ok, _ in found.values()):
        raise SystemExit(1)


def _try(step: Callable[[Settings], str], settings: Settings) -> tuple[bool, str]:
    try:
        return True, step(settings)
    except (PostroomError, OSError, ValueError) as error:  # ValueError: what a client library says of a URL
        return False, str(error)


def _store(settings: Settings) -> str:
    try:
        store = wiring.open_store(settings)
    except StoreLocked as error:
        return str(error).rpartition(": ")[0]  # in use, which is fine
    try:
        store.ping()
    finally:
        store.close()
    return "can be written to"


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
    transport = wiring.open_transport(settings)
    try:
        transport.ping()
    finally:
        transport.close()
    return f"{transport.relay} answers"


def _port(settings: Settings) -> str:
    where = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.create_server((settings.host, settings.port), family=family):
            return f"{where} is free"
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _answers(settings):
            return f"{where} is where a Postroom is running already"
        raise OSError(f"{where} cannot be listened on ({error.strerror})") from None


def _answers(settings: Settings) -> bool:
    try:
        answer = httpx.get(f"{address_of(settings.host, settings.port)}/livez", timeout=LIVE_SECONDS, trust_env=False)
        return bool(answer.json() == {"status": "ok"})
    except (httpx.HTTPError, ValueError):
        return False
