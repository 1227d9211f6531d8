"""The simulated transport: delivers nothing, takes a random time over it, and plays the outcome that the address names.

The part of each recipient's address before the @ decides, whatever the domain; letter case and a `+tag` are ignored.

| address | what becomes of it |
| --- | --- |
| `bounce@` | refused for good: 550 5.1.1 |
| `full@` | refused for now, each time: 452 4.2.2 |
| `defer@` | refused for now, each time: 451 4.7.1 |
| `defer-N-then-ok@` | refused for now on the first N attempts, then accepted |
| `timeout@` | no reply to the recipient, each time |
| `reject@` | the message itself is refused for good: 554 5.6.0 |
| `uncertain@` | on the first attempt no reply to the final dot; accepted afterwards |
| `slow@`, `slow-N@` | accepted after 30 or N seconds (600 at most) |
| `route-down@` | the relay cannot be reached, the first two times in this process; accepted afterwards |
| `auth-refused@` | the relay refuses our password, the first two times in this process; accepted afterwards |
| any other | accepted: 250 2.0.0 |
"""

import heapq
import itertools
import random as random_module
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from postroom.mail.outcome import Envelope, HandOff
from postroom.transport import simulated_fate
from postroom.transport.base import Fence, Take
from postroom.transport.fence import ask
from postroom.transport.simulated_fate import ROUTE_TROUBLES, Fate

ASK_AGAIN_SECONDS = 0.05
LINGER_SECONDS = 0.025  # those whose time is up so close together pass the fence together
YIELD_SECONDS = 0.5
MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnderWay:
    """An envelope and, for each recipient, what it is going to meet."""

    envelope: Envelope
    began: float
    fates: Sequence[Fate]

    @property
    def reaches_dot(self) -> bool:
        return any(fate.reaches_dot for fate in self.fates)


class SimulatedTransport:
    """Implements `Transport`. A hand-off takes `min_seconds` to `max_seconds` unless its address says otherwise."""

    relay = "simulated://"

    def __init__(
        self,
        *,
        min_seconds: float = 1.0,
        max_seconds: float = 4.0,
        capacity: int = 2000,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self.capacity = capacity
        self._min_seconds = min_seconds
        self._spread_seconds = max_seconds - min_seconds
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._route_troubles: OrderedDict[str, int] = OrderedDict()  # email id -> how often it has met some

    def send(self, take: Take, *, fence: Fence) -> Generator[Sequence[HandOff], None, None]:
        """See `Transport.send`. Ends a hand-off when its time is up, not before, and not on a thread of its own."""
        under_way: list[tuple[float, int, _UnderWay]] = []  # a heap, soonest end first
        serial = itertools.count()
        ask_at = yielded_at = self._clock()
        while True:
            now = self._clock()
            free = self.capacity - len(under_way)
            if free > 0 and (now >= ask_at or not under_way):
                taken = take(free)
                ask_at = now if len(taken) == free else now + ASK_AGAIN_SECONDS
                for envelope in taken:
                    begun = self._begin(envelope, now)
                    heapq.heappush(under_way, (now + self._duration(begun), next(serial), begun))
            if not under_way:
                return
            now = self._clock()
            ended = self._end(_whose_time_is_up(under_way, now), fence)
            if ended or now >= yielded_at + YIELD_SECONDS:
                yield ended
                yielded_at = self._clock()
            if under_way:
                time.sleep(min(ASK_AGAIN_SECONDS, max(under_way[0][0] - self._clock(), LINGER_SECONDS)))

    def resting(self) -> float:
        """See `Transport.resting`: never."""
        return 0.0

    @property
    def is_down(self) -> bool:
        """See `Transport.is_down`: never."""
        return False

    def ping(self) -> None:
        """See `Transport.ping`: always well."""

    def close(self) -> None:
        """See `Transport.close`: nothing is kept."""

    def _begin(self, envelope: Envelope, now: float) -> _UnderWay:
        trouble = self._route_trouble(envelope)
        attempt, doubt = envelope.attempt, envelope.possible_duplicate
        fates = [trouble or simulated_fate.of(r, attempt=attempt, in_doubt=doubt) for r in envelope.rcpt_to]
        return _UnderWay(envelope=envelope, began=now, fates=fates)

    def _route_trouble(self, envelope: Envelope) -> Fate | None:
        trouble = simulated_fate.route_trouble(envelope.rcpt_to)
        if trouble is None:
            return None
        with self._lock:
            met = self._route_troubles.pop(envelope.email_id, 0)
            self._route_troubles[envelope.email_id] = met + 1  # the newest last, so that the oldest is forgotten first
            if len(self._route_troubles) > MOST_REMEMBERED:
                self._route_troubles.popitem(last=False)
        return trouble if met < ROUTE_TROUBLES else None

    def _duration(self, begun: _UnderWay) -> float:
        scripted = [fate.seconds for fate in begun.fates if fate.seconds is not None]
        return max(scripted) if scripted else self._min_seconds + self._spread_seconds * self._random()

    def _end(self, due: Sequence[_UnderWay], fence: Fence) -> list[HandOff]:
        allowed = ask(fence, [begun.envelope.email_id for begun in due if begun.reaches_dot])
        now = self._clock()
        return [self._hand_off(begun, begun.envelope.email_id in allowed, now) for begun in due]

    def _hand_off(self, begun: _UnderWay, allowed: bool, now: float) -> HandOff:
        fates = [fate if allowed or not fate.reaches_dot else simulated_fate.RELEASED for fate in begun.fates]
        envelope = begun.envelope
        outcomes = [fate.outcome(recipient) for recipient, fate in zip(envelope.rcpt_to, fates, strict=True)]
        return HandOff(email_id=envelope.email_id, relay=self.relay, seconds=now - begun.began, outcomes=outcomes)


def _whose_time_is_up(under_way: list[tuple[float, int, _UnderWay]], now: float) -> list[_UnderWay]:
    due = []
    while under_way and under_way[0][0] <= now:
        due.append(heapq.heappop(under_way)[2])
    return due
