"""All systems by name, in the order in which they run."""

from bench.sink import MESSAGE_ID
from bench.systems import peers, product
from bench.systems.base import System

ALL = {
    system.name: system
    for system in (
        System(
            name="naive",
            title="naive (FastAPI, Celery, MongoDB results)",
            durability="none: no confirm, early ack, result not journalled",
            start=peers.naive,
            n=3000,
        ),
        System(
            name="naive-durable",
            title="naive, made durable",
            durability="confirmed quorum queue, late ack, result journalled",
            start=peers.naive_durable,
            n=2000,
        ),
        System(
            name="taskiq",
            title="taskiq, aio-pika, aiosmtplib, Redis results",
            durability="its defaults; results in Redis memory",
            start=peers.taskiq,
            n=3000,
        ),
        System(
            name="postfix",
            title="Postfix over SMTP",
            durability="queue file synced; status is a log line",
            start=peers.postfix,
            n=4000,
            header=MESSAGE_ID,
        ),
        System(
            name="mongo",
            title="Postroom on RabbitMQ and MongoDB",
            durability="w:majority, journalled, before the answer; claim, fence and status likewise",
            start=product.on_mongodb,
            n=10_000,
            batches=True,
        ),
        System(
            name="redis",
            title="Postroom on RabbitMQ and Redis",
            durability="append-only file synced (always) before the answer; claim, fence and status likewise",
            start=product.on_redis,
            n=10_000,
            batches=True,
        ),
        System(
            name="embedded",
            title="Postroom embedded (SQLite, one process)",
            durability="WAL synced before the answer; claim, fence and status likewise",
            start=product.embedded,
            n=10_000,
            batches=True,
        ),
    )
}
