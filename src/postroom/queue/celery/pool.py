"""Celery's prefork pool, made to see the death of every child process, and to survive it."""

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

    def did_start_ok(self) -> bool:
        """Yes: a child that has died by then is replaced like any other. Celery would end the worker, as if well."""
        return True


class ChildPool(TaskPool):  # type: ignore[misc]
    """The worker's child processes."""

    Pool = _Processes
