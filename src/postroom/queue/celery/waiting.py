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
    pool.register_with_event_loop(hub)
    while True:
        maybe_shutdown()
        hub.call_later(STEP_SECONDS, _nothing)  # else the loop may wait for longer
        next(hub.create_loop())
        yield


def pause(seconds: float, waiting: Iterator[None]) -> None:
    """Waits so long, step by step."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        next(waiting)


def _nothing() -> None:
    pass
