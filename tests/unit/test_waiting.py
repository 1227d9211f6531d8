"""How a worker's event loop turns while the broker is away."""

import socket
from collections.abc import Iterator

import pytest
from amqp.exceptions import RecoverableConnectionError
from kombu.asynchronous import Hub

from postroom.queue.celery import waiting


class Pool:
    """Child processes that have something to say, once they are listened to."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.heard = 0

    def register_with_event_loop(self, hub: Hub) -> None:
        hub.add_reader(self.ours, self.hear)

    def hear(self) -> None:
        self.heard += len(self.ours.recv(1))


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.ours.close()
    made.theirs.close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    yield made
    made.close()


def lost(*_: object) -> None:
    raise RecoverableConnectionError("Socket was disconnected")


def test_connection_that_was_lost_before_the_loop_began_does_not_end_the_worker(hub: Hub, pool: Pool) -> None:
    connection, broker = socket.socketpair()
    hub.add_reader(connection, lost)
    hub.call_soon(lost)
    broker.close()
    pool.theirs.send(b"x")
    steps = waiting.steps(pool, hub)
    for _ in range(3):
        next(steps)
    assert pool.heard == 1
    connection.close()


def test_loop_turns_for_the_children_while_nothing_was_lost(hub: Hub, pool: Pool) -> None:
    steps = waiting.steps(pool, hub)
    for number in range(1, 4):
        pool.theirs.send(b"x")
        next(steps)
        assert pool.heard == number
