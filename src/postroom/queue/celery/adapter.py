"""The queue port over RabbitMQ: each wake-up is a Celery task message, confirmed by the broker."""

import uuid
from collections.abc import Sequence
from typing import Any

from kombu import Producer

from postroom.mail.email import Lane
from postroom.queue import wake_up
from postroom.queue.celery import topology
from postroom.queue.celery.app import create_app
from postroom.queue.celery.line import Line

PERSISTENT = 2  # AMQP's delivery mode: survives a restart of the broker


class CeleryQueue:
    """Publishes wake-ups for Celery workers. Connects at the first use; serves all threads of one process."""

    def __init__(self, broker_url: str, *, confirm_seconds: float = 2.0, rest_seconds: float = 1.0) -> None:
        self._confirm_seconds = confirm_seconds
        self._line = Line(broker_url, patience_seconds=confirm_seconds, rest_seconds=rest_seconds)
        self._messages = create_app(broker_url).amqp

    def publish(self, ids: Sequence[str], lane: Lane) -> None:
        """See `Queue.publish`. A message that no queue takes counts as not published."""
        message = self._messages.as_task_v2(
            str(uuid.uuid4()),
            wake_up.TASK,
            args=[wake_up.encode(ids, lane)],
            argsrepr=f"{lane}: {len(ids)} emails, from {ids[0] if ids else 'none'}",
            origin="postroom",
        )
        self._line.use(lambda channel: self._publish(channel, message, lane))

    def _publish(self, channel: Any, message: Any, lane: Lane) -> None:
        returned: list[Exception] = []

        def keep(error: Exception, *_: object) -> None:
            returned.append(error)

        producer = Producer(channel, serializer="json", auto_declare=False, on_return=keep)
        try:
            producer.publish(
                message.body,
                exchange=topology.EXCHANGE.name,
                routing_key=str(lane),
                headers=message.headers,
                delivery_mode=PERSISTENT,
                mandatory=True,
                retry=False,
                timeout=self._confirm_seconds,
                confirm_timeout=self._confirm_seconds,
                **message.properties,
            )
        finally:
            channel.events["basic_return"].discard(keep)  # or the channel keeps one for each wake-up, for ever
        if returned:
            raise returned[0]

    def depth(self) -> int:
        """See `Queue.depth`: over all lanes, those ready for a worker."""
        return self._line.use(lambda channel: sum(_ready(channel, queue) for queue in topology.QUEUES))

    def dead_letters(self) -> int:
        """See `Queue.dead_letters`."""
        return self._line.use(lambda channel: _ready(channel, topology.DEAD_QUEUE))

    def ping(self) -> None:
        """See `Queue.ping`."""
        self._line.use(lambda channel: _ready(channel, topology.QUEUES[0]))

    def close(self) -> None:
        """See `Queue.close`."""
        self._line.close()


def _ready(channel: Any, queue: Any) -> int:
    """How many messages of this queue wait; the declaration is passive and changes nothing."""
    return int(channel.queue_declare(queue.name, passive=True).message_count)
