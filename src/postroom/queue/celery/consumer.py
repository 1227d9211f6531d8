"""The worker's end of the broker: Celery's consumer, more patient with a broker that refuses us, and keeping what
nobody can read."""

import logging
import time
from collections.abc import Callable
from typing import Any

from amqp.exceptions import ConsumerCancelled
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu.exceptions import DecodeError

from postroom.queue.celery import faults, topology

log = logging.getLogger(__name__)

PAUSE_SECONDS = 10
LOOK_SECONDS = 2.0


class PatientConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Waits until the broker has what we need, in place of Celery's ways: to give up, or to try without a pause.

    Meanwhile the worker's child processes find their work in the store.
    """

    def connection_for_read(self, heartbeat: float | None = None) -> Any:
        """A connection to a broker that has all our queues."""
        while True:
            connection = self.app.connection_for_read(heartbeat=heartbeat)
            try:
                connection = self.ensure_connected(connection)
                topology.declare(connection.default_channel)
            except faults.REFUSALS as error:
                reason = faults.sentence(error, connection, patience=self.app.conf.broker_connection_timeout)
                log.error("broker refuses us", extra={"reason": reason})
                connection.collect()
                _pause()
            else:
                return connection

    # -- a deleted queue is noticed, whoever reads the broker's notice -----------------------------------------------

    def register_with_event_loop(self, hub: Any) -> None:
        """Also looks now and then whether every lane is still consumed."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(LOOK_SECONDS, self._expect_to_consume)

    def _expect_to_consume(self) -> None:
        """Raises `ConsumerCancelled`, upon which Celery connects anew, when a lane has lost its consumer.

        The broker's notice that a queue is gone may reach whoever publishes an event at that moment (py-amqp reads
        before it writes). The publisher takes it for trouble of its own, and that lane would never be consumed again.
        """
        consumer = self.task_consumer
        if consumer and not set(consumer._active_tags.values()) <= set(consumer.channel.callbacks):
            raise ConsumerCancelled("a queue that we consumed was deleted")

    # -- what nobody can read goes to the dead letters; Celery would forget some of it, and die of the rest ----------

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], None]:
        """What is done with each message that arrives."""
        handle = super().create_task_handler(*arguments, **options)

        def handle_or_bury(message: Any) -> None:
            try:
                handle(message)
            except (AttributeError, DecodeError, LookupError, TypeError, ValueError) as error:
                self._bury(message, error)

        return handle_or_bury

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """It is not JSON."""
        self._bury(message, exc)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """It names a task that is not ours."""
        self._bury(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """It is no task at all."""
        self._bury(message, None)

    def _bury(self, message: Any, error: Exception | None) -> None:
        reason = f"not a task of ours ({type(error).__name__ if error else 'no task'})"
        log.error("wake-up dead-lettered", extra={"reason": reason})
        if not message.acknowledged:
            message.reject_log_error(log, self.connection_errors)


def _pause() -> None:
    """Waits before the next try; ends the worker if it is told to stop meanwhile."""
    deadline = time.monotonic() + PAUSE_SECONDS
    while time.monotonic() < deadline:
        maybe_shutdown()
        time.sleep(0.2)
