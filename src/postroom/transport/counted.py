"""A transport whose outcomes are counted, whichever it is."""

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, cast

from postroom import metrics
from postroom.mail.outcome import NO_ATTEMPT, HandOff
from postroom.metrics import Numbers
from postroom.transport.base import Fence, Take, Transport


def counted(transport: Transport, numbers: Numbers) -> Transport:
    """The same transport; what became of each hand-off is counted."""
    return cast(Transport, _Counted(transport, numbers))


class _Counted:
    """Counts what passes. Methods that are not here are the transport's own."""

    def __init__(self, transport: Transport, numbers: Numbers) -> None:
        self._transport = transport
        self._numbers = numbers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def send(self, take: Take, *, fence: Fence) -> Generator[Sequence[HandOff], None, None]:
        with closing(self._transport.send(take, fence=fence)) as hand_offs:
            for ended in hand_offs:
                for hand_off in ended:
                    self._count(hand_off)
                yield ended

    def _count(self, hand_off: HandOff) -> None:
        for outcome in hand_off.outcomes:
            self._numbers.add(metrics.OUTCOMES, outcome.verdict)
        if not NO_ATTEMPT.issuperset([outcome.verdict for outcome in hand_off.outcomes]):
            self._numbers.observe(metrics.ATTEMPT_SECONDS, seconds=hand_off.seconds)
