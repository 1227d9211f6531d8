"""The Celery task: one wake-up, one turn."""

import logging
from collections.abc import Mapping
from typing import Any

from celery.exceptions import Reject

from postroom.queue import wake_up
from postroom.worker.child import Children
from postroom.worker.stop import sigterm_asks

log = logging.getLogger(__name__)


def register(app: Any, children: Children) -> None:
    """Gives the application its task."""

    @app.task(bind=True, name=wake_up.TASK)  # type: ignore[untyped-decorator]  # Celery has no types
    def deliver(task: Any, payload: object) -> Mapping[str, int]:
        """Takes one turn with the emails that the wake-up names; the result is the counts by verdict."""
        chunk, child = _decoded(payload), children.mine()
        if child.stopping:
            raise Reject("the worker stops", requeue=True)
        with sigterm_asks(child.stop):
            return child.take_turn(chunk.ids, task=task.request.id)


def _decoded(payload: object) -> wake_up.WakeUp:
    """The wake-up; one that this version cannot read goes to the dead letters."""
    try:
        return wake_up.decode(payload)
    except ValueError as error:
        log.error("wake-up dead-lettered", extra={"reason": str(error)})
        raise Reject(str(error), requeue=False) from error
