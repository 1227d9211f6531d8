"""Celery's prefork pool, which sees the death of every child process."""

from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool


class _Processes(AsynPool):  # type: ignore[misc]  # Celery has no types
    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        """Also hears of children that live: when several die at once, the place of one in the event loop passes to its
        successor before the loop has come to it. Celery would lose sight of that successor, and end the worker the next
        time it connects."""
        if not proc._is_alive():
            super()._event_process_exit(hub, proc)


class ChildPool(TaskPool):  # type: ignore[misc]
    """The worker's child processes."""

    Pool = _Processes
