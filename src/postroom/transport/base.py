"""The transport port: hand many envelopes to the relay at once, and say what became of each recipient."""

from collections.abc import Callable, Collection, Generator, Sequence
from typing import Protocol, TypeAlias

from postroom.mail.outcome import Envelope, HandOff

Take: TypeAlias = Callable[[int], Sequence[Envelope]]
"""Called with the number of free hand-offs, or of such as may follow others on their way; returns at most so many
envelopes, at once, perhaps none for now."""

Fence: TypeAlias = Callable[[Collection[str]], Collection[str]]
"""Called with the ids of emails whose final dot is next; returns those that may go on. It may raise: then none may."""


class Transport(Protocol):
    """How envelopes leave. One object serves all threads of a process; it connects after a fork, never before."""

    @property
    def relay(self) -> str:
        """What to call the next hop in logs and timelines, such as `smtp://mail.example.com:587`; never a password."""

    @property
    def capacity(self) -> int:
        """How many hand-offs one `send` has under way at most, besides those that begin as soon as these have ended."""

    def send(self, take: Take, *, fence: Fence) -> Generator[Sequence[HandOff], None, None]:
        """Hands off whatever `take` returns, many at once, and yields hand-offs as they end: an outcome for every
        recipient of the envelope.

        Asks `take` again whenever hand-offs are free, at least once a second; yields an empty list at least once a
        second so that the caller can see to its leases; ends when `take` brought nothing and nothing is under way. A
        refusal, a time-out or a dead relay is an outcome, never an exception. The final dot is written only for what
        `fence` returned; the rest ends as `RELEASED`. Closing the iterator drops what is under way without any further
        dot; the caller knows from the fence which of those are in doubt.
        """

    def resting(self) -> float:
        """Seconds for which the relay should be left alone because it is down or refuses us; 0 when it may be used.
        After that time a caller may try one chunk: it is the probe."""

    @property
    def is_down(self) -> bool:
        """Whether this process found the relay down, or was refused by it, and has not been let in since."""

    def ping(self) -> None:
        """Connects, greets, authenticates and says goodbye. Raises `ConnectionError` with one clear sentence."""

    def close(self) -> None:
        """Says goodbye on idle connections. May be called twice."""
