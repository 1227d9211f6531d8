"""The command that serves the API alone, from several processes on one port."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import NoReturn

import click

from postroom import __version__, exposition, metrics, telemetry, wiring
from postroom import settings as settings_module
from postroom.api.app import create_app
from postroom.api.counted import families
from postroom.api.server import serve as serve_until_stopped
from postroom.cli.listening import address_of, greeting, listening
from postroom.cli.output import clear_errors
from postroom.errors import PostroomError
from postroom.metrics import Numbers
from postroom.settings import Settings

log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0  # between the death of an API process and its successor
SWITCH_SECONDS = 0.02  # after which a thread that waits may interrupt another; the loop pauses by itself, and sooner


@click.command()
@clear_errors
def serve() -> None:
    """Serve the API only.

    `postroom worker` and `postroom sweep` do the rest. SIGTERM makes it finish the requests under way.
    """
    settings = settings_module.load()
    wiring.require_shared(settings, "serve")
    wiring.check_parts(settings)
    telemetry.set_up(settings.log_level, settings.log_format)
    numbers = _shown_numbers(settings)
    with listening(settings) as listener:
        host, port = listener.getsockname()[:2]
        address = address_of(host, port)
        log.info("started", extra={"version": __version__, "address": address, "count": settings.api_processes})
        if settings.log_format == "text":
            click.echo(greeting(address, settings))
        _Processes(settings, listener, numbers).run()
    log.info("stopped")


def _shown_numbers(settings: Settings) -> Numbers | None:
    """What all API processes count in, shown by this one; None if nobody is to see it."""
    if settings.metrics_address is None:
        return None
    numbers = Numbers([*families(), *metrics.OF_API], rows=settings.api_processes)
    exposition.serve(settings.metrics_address, numbers)
    return numbers


class _Processes:
    """The API processes: forked with the listening socket and nothing else, replaced when they die.

    They hold one end of a pipe whose other end is their parent's alone: should it be killed, they see the pipe closed
    and stop, or else they would keep the port from its successor.
    """

    def __init__(self, settings: Settings, listener: socket.socket, numbers: Numbers | None) -> None:
        self._settings = settings
        self._listener = listener
        self._numbers = numbers
        self._pids: dict[int, int] = {}  # each with its number, from 0, which its successor inherits
        self._stopping = False
        self._lifeline, self._our_end = os.pipe()

    def run(self) -> None:
        """Keeps them running until SIGTERM or SIGINT."""
        for heard in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(heard, self._stop)
        for number in range(self._settings.api_processes):
            self._fork(number)
        while self._pids:
            pid, status = os.wait()
            died = self._pids.pop(pid, None)  # None: an orphan, which came to us as the first process of a container
            if died is not None and not self._stopping:
                log.error("API process died", extra={"reason": f"wait status {status}"})
                time.sleep(RESTART_SECONDS)
                self._fork(died)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _stop(self, *_: object) -> None:
        """Asks them to stop, and again each second: one that is just starting does not listen yet."""
        self._stopping = True
        signal.setitimer(signal.ITIMER_REAL, 1)
        for pid in list(self._pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _fork(self, number: int) -> None:
        ours = {signal.SIGTERM, signal.SIGINT, signal.SIGALRM}
        signal.pthread_sigmask(signal.SIG_BLOCK, ours)
        try:
            if self._stopping:
                return
            if pid := os.fork():
                self._pids[pid] = number
                return
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            for heard in (signal.SIGTERM, signal.SIGINT):  # the server hears them while it runs
                signal.signal(heard, lambda *_: None)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
        os.close(self._our_end)
        threading.Thread(target=_stop_without_parent, args=(self._lifeline,), name="lifeline", daemon=True).start()
        if self._numbers:
            self._numbers.use_row(number)
        _serve_and_exit(self._settings, self._listener, self._numbers)


def _stop_without_parent(lifeline: int) -> None:
    """Asks this process to stop once its parent is gone, and again each second: it may not listen to signals yet."""
    os.read(lifeline, 1)
    log.error("API process died", extra={"reason": "its parent was killed, so it stops"})
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def _serve_and_exit(settings: Settings, listener: socket.socket, numbers: Numbers | None) -> NoReturn:
    """The life of one API process."""
    code = 1
    try:
        _serve_here(settings, listener, numbers)
        code = 0
    except PostroomError as error:
        log.error("API process died", extra={"reason": str(error)})
    except Exception:
        log.exception("unexpected error")
    finally:
        os._exit(code)


def _serve_here(settings: Settings, listener: socket.socket, numbers: Numbers | None) -> None:
    """One API process, with its own store and broker connections."""
    sys.setswitchinterval(SWITCH_SECONDS)
    postroom = wiring.build(settings, numbers)
    try:
        postroom.start()
        serve_until_stopped(create_app(postroom), settings, listener)
    finally:
        postroom.close()
