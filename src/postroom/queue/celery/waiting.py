"""How a worker waits for its broker. Celery's event loop turns only while it is connected; yet child processes die,
tasks end and signals arrive at any time."""

import time
from collections.abc import Iterator
from typing import Any

from celery.worker.state import maybe_shutdown

STEP_SECONDS = 0.2


def steps(pool: Any, hub: Any) -> Iterator[None]:
    """Endless; each step ends the worker if it is told to stop, and turns the event loop once for the child processes,
    so that dead ones are replaced and results are read."""
    _forget_connection(hub)
    pool.register_with_event_loop(hub)
    while True:
        maybe_shutdown()
        hub.call_later(STEP_SECONDS, _nothing)  # else the loop may wait for longer
        next(hub.create_loop())
        yield


def _forget_connection(hub: Any) -> None:
    """Takes out of the loop what belongs to the connection that is lost. Celery does so where the loop was running; but
    one that is lost just before stays there, and would end the worker at the loop's next turn."""
    try:
        hub.reset()
    except Exception:  # by what was still to be done for it, and is forgotten now
        hub.reset()


def pause(seconds: float, waiting: Iterator[None]) -> None:
    """Waits so long, step by step."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        next(waiting)


def _nothing() -> None:
    pass
