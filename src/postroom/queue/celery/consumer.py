"""The worker's end of the broker: Celery's consumer, more patient with a broker that refuses us, and keeping what
nobody can read."""

import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from amqp.exceptions import ConsumerCancelled
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from kombu.exceptions import DecodeError

from postroom.queue.celery import faults, topology, waiting

log = logging.getLogger(__name__)

PAUSE_SECONDS = 10
LOOK_SECONDS = 2.0
LIMITS = ("timelimit", "eta", "expires")  # what Celery makes of bad ones ends the worker; a wake-up has none


class PatientConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Waits until the broker has what we need, in place of Celery's ways: to give up, or to try without a pause.

    Meanwhile the worker's child processes find their work in the store.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        """Celery's steps but one: a wake-up is never delayed in the broker, and the 28 queues and exchanges that Celery
        makes for that keep a worker from its work for a minute where the node that led them is dead."""

        default_steps = tuple(step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in step)

    _refusal: BaseException | None = None

    def connection_for_read(self, heartbeat: float | None = None) -> Any:
        """A connection to a broker that has all our queues."""
        while True:
            connection = self.app.connection_for_read(heartbeat=heartbeat)
            try:
                self._wait_out_refusal(connection)
                connection = self.ensure_connected(connection)
                topology.declare(connection.default_channel)
            except faults.REFUSALS as error:
                connection.collect()
                self._refusal = error
            else:
                return connection

    def ensure_connected(self, conn: Any) -> Any:
        """The same connection once it leads to a broker; tries again at least every 30 seconds, for ever."""
        steps = self._wait()

        conn.ensure_connection(
            lambda error, _seconds: self._tell("broker unavailable", error, conn), callback=lambda: next(steps)
        )
        self.first_connection_attempt = False
        return conn

    def on_connection_error_after_connected(self, exc: BaseException) -> None:
        """The connection is lost; or a broker that let us in refuses what we ask of it, and would do so again."""
        if isinstance(exc, faults.REFUSALS):
            self._refusal = exc
        with warnings.catch_warnings(action="ignore", category=CPendingDeprecationWarning):  # on what we chose
            super().on_connection_error_after_connected(exc)

    def _wait_out_refusal(self, connection: Any) -> None:
        """Says that the broker refused us, and waits before the next try."""
        error, self._refusal = self._refusal, None
        if error is not None:
            self._tell("broker refuses us", error, connection)
            waiting.pause(PAUSE_SECONDS, self._wait())

    def _tell(self, event: str, error: BaseException, connection: Any) -> None:
        reason = faults.sentence(error, connection, patience_seconds=self.app.conf.broker_connection_timeout)
        log.error(event, extra={"reason": reason})

    def _wait(self) -> Iterator[None]:
        return waiting.steps(self.pool, self.hub)

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

    def add_task_queue(self, queue: str, *arguments: Any, **options: Any) -> None:
        """Consumes that lane again, when a dashboard asks for it. No other queue: it might be one that a broker refuses
        to us, then and at every new connection."""
        if queue in {lane.name for lane in topology.QUEUES}:
            super().add_task_queue(queue, *arguments, **options)
        else:
            log.error("queue not consumed", extra={"reason": f"{queue} is no lane of ours"})

    # -- what nobody can read goes to the dead letters; Celery would forget some of it, and die of the rest ----------

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], None]:
        """What is done with each message that arrives."""
        handle = super().create_task_handler(*arguments, **options)

        def handle_or_bury(message: Any) -> None:
            if not _may_be_ours(message.headers):
                self._bury(message, None)
                return
            for header in LIMITS:
                message.headers.pop(header, None)
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


def _may_be_ours(headers: Any) -> bool:
    """Whether a message is of the kind that we publish: one with its task in the headers, and never compressed. The
    limits of one with its task in the body end the worker, and a compressed one may be of any size."""
    return isinstance(headers, dict) and "task" in headers and "compression" not in headers
