"""The queue port: tell some worker that these emails wait."""

from collections.abc import Sequence
from typing import Protocol

from postroom.mail.email import Lane


class Queue(Protocol):
    """Carries wake-ups from whoever stored emails to whoever delivers them. Promises only what a hint needs."""

    def publish(self, ids: Sequence[str], lane: Lane) -> None:
        """On return the broker has this wake-up (one chunk). Raises `QueueUnavailable` within a time limit; the caller
        carries on, because the sweep publishes again what was not delivered."""

    def depth(self) -> int:
        """How many wake-ups wait. Raises `QueueUnavailable`."""

    def dead_letters(self) -> int:
        """How many wake-ups are kept apart because no worker could read them. Raises `QueueUnavailable`."""

    def ping(self) -> None:
        """Returns when the broker answers, else raises `QueueUnavailable`."""

    def close(self) -> None:
        """Lets go of the broker. May be called twice."""
