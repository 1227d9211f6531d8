"""What exists on the broker: one exchange, a quorum queue for each lane, and a place for dead letters.

Limits (length, deliveries) belong into a broker policy: a queue's arguments cannot be changed later.
"""

from typing import Any

from kombu import Exchange, Queue

from postroom.mail.email import Lane

EXCHANGE = Exchange("postroom", type="direct", durable=True)
DEAD_EXCHANGE = Exchange("postroom.dead", type="fanout", durable=True)
_QUORUM = {"x-queue-type": "quorum"}

DEAD_QUEUE = Queue("postroom.dead", DEAD_EXCHANGE, durable=True, queue_arguments=_QUORUM)


def queue_of(lane: Lane) -> Any:
    """The lane's queue; the routing key is the lane's name. What a worker rejects goes to the dead letters."""
    arguments = {**_QUORUM, "x-dead-letter-exchange": DEAD_EXCHANGE.name}
    return Queue(f"postroom.{lane}", EXCHANGE, routing_key=str(lane), durable=True, queue_arguments=arguments)


QUEUES = [queue_of(lane) for lane in Lane]


def declare(channel: Any) -> None:
    """Makes what is missing. Raises amqp's `PreconditionFailed` when a queue exists with other arguments."""
    for queue in (*QUEUES, DEAD_QUEUE):
        queue(channel).declare()
