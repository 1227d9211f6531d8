"""The command that runs everything in one process: API, store, queue, worker and sweep."""

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import click

from postroom import __version__, exposition, keyring, metrics, telemetry, wiring
from postroom import settings as settings_module
from postroom.api.app import create_app
from postroom.api.counted import families
from postroom.api.server import serve
from postroom.cli.listening import address_of, greeting, listening
from postroom.cli.output import clear_errors
from postroom.metrics import Numbers
from postroom.settings import Settings
from postroom.worker.embedded import EmbeddedWorker

log = logging.getLogger(__name__)


@click.command()
@clear_errors
def run() -> None:
    """Serve the API and deliver, in one process.

    Ctrl-C makes it finish, or hand back, what it has.
    """
    settings = settings_module.load()
    wiring.require_embedded(settings, "run")
    telemetry.set_up(settings.log_level, settings.log_format)
    with listening(settings) as listener:
        postroom = wiring.build(settings, _numbers(settings))
        try:
            _show_numbers(postroom)
            worker = EmbeddedWorker(postroom)
            try:
                worker.start()
                postroom.start()
                _greet(postroom, listener)
                with quiet_signals():
                    serve(create_app(postroom), settings, listener)
            finally:
                worker.close()
        finally:
            postroom.close()
    log.info("stopped")


def _numbers(settings: Settings) -> Numbers | None:
    """What all parts count in, if anybody is to see it."""
    if settings.metrics_address is None:
        return None
    return Numbers([*families(), *metrics.OF_API, *metrics.OF_WORKER, *metrics.OF_SWEEP])


def _show_numbers(postroom: wiring.Postroom) -> None:
    if postroom.numbers and postroom.settings.metrics_address:
        store_collector = exposition.StoreCollector(store=postroom.store, queue=None)
        exposition.serve(postroom.settings.metrics_address, postroom.numbers, store_collector)


@contextmanager
def quiet_signals() -> Iterator[None]:
    """The server ends on SIGINT or SIGTERM and then raises that signal once more; by then it has done its work. A
    second one, while work is handed back, ends the process at once: the next start recovers what it held."""
    kept = {sig: signal.signal(sig, lambda *_: None) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sig, handler in kept.items():
            signal.signal(sig, handler)


def _greet(postroom: wiring.Postroom, listener: socket.socket) -> None:
    """Tells where it serves; at the first start also the key, and a line to paste."""
    host, port = listener.getsockname()[:2]
    address = address_of(host, port)
    log.info("started", extra={"version": __version__, "address": address, "relay": postroom.transport.relay})
    token = keyring.create_first(store=postroom.store)
    click.echo(f"\n{greeting(address, postroom.settings)}")
    click.echo(f"Emails go to {postroom.transport.relay}")
    if token is None:
        click.echo("Your API key is the one shown at the first start; `postroom keys create` makes another.\n")
        return
    body = '{"from": "Ann <ann@example.com>", "to": "bob@example.com", "subject": "Hello", "text": "First email"}'
    click.echo(f"Your API key, shown only now: {token}\n\nSend a first email:\n")
    click.echo(f"  curl -s {address}/emails -H 'Authorization: Bearer {token}' \\")
    click.echo(f"    -H 'Content-Type: application/json' -d '{body}'\n")
    click.echo("and follow it, with the id from the answer:\n")
    click.echo(f"  curl -s {address}/emails/ID -H 'Authorization: Bearer {token}'\n")
