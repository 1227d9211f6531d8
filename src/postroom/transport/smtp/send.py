"""One `send`: a loop that drives many connections at once, from `take` through the fence to the hand-offs it yields.

What is said on a connection is `dialogue`'s; how many connections there are and when to open more, `pool`'s.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from postroom.mail.outcome import Envelope, HandOff, Outcome, Phase, Verdict
from postroom.transport.base import Fence, Take
from postroom.transport.breaker import State
from postroom.transport.fence import ask
from postroom.transport.smtp.connection import Connection
from postroom.transport.smtp.opening import RouteTrouble
from postroom.transport.smtp.pool import ConnectionPool
from postroom.transport.smtp.route import EMAILS_PER_CONNECTION, Route

ASK_AGAIN_SECONDS = 0.05  # how soon to ask `take` again after it had too little
LINGER_SECONDS = 0.002  # how long the parked and the finished wait for the next of those under way to join them
LONGEST_LINGER_SECONDS = 0.05  # and how long for all of them
YIELD_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 0.25
ADDRESS_WAIT_SECONDS = 0.02
LONGEST_QUEUE_SECONDS = 5.0  # for a connection, while there are some


class _UnderWay(NamedTuple):
    """An envelope under way, and since when."""

    envelope: Envelope
    since: float


class SendLoop:
    """The state of one `send`. `run` may be called once."""

    def __init__(self, route: Route, *, take: Take, fence: Fence, clock: Callable[[], float]) -> None:
        self._route = route
        self._relay = route.relay.name
        self._capacity = route.relay.connections
        self._take = take
        self._fence = fence
        self._clock = clock
        self._pool = ConnectionPool(route)
        self._waiting: deque[_UnderWay] = deque()
        self._moved: deque[_UnderWay] = deque()  # their connection had ended unheard: again, on one never used before
        self._busy: dict[Connection, _UnderWay] = {}
        self._parked: dict[Connection, _UnderWay] = {}
        self._following: dict[Connection, _UnderWay] = {}  # begun with the dots of the busy; the first are the oldest
        self._may_follow = True
        self._finished: list[HandOff] = []
        self._ask_at = 0.0
        self._is_halted = False

    def run(self) -> Iterator[Sequence[HandOff]]:
        """The generator behind `Transport.send`."""
        try:
            quiet_at = yielded_at = self._clock()
            while self._has_work():
                self._give_out(self._clock())
                happened = self._serve(self._patience())
                now = self._clock()
                if happened and now < quiet_at + LONGEST_LINGER_SECONDS:
                    continue
                quiet_at = now
                self._pass_fence()
                if self._finished or now >= yielded_at + YIELD_SECONDS:
                    batch, self._finished = self._finished, []
                    yield batch
                    yielded_at = self._clock()
        finally:
            self._pool.close(self._busy, self._clock())

    # -- taking ----------------------------------------------------------------------------------------------------

    @property
    def _under_way(self) -> int:
        return len(self._waiting) + len(self._moved) + len(self._busy)

    def _has_work(self) -> bool:
        """Asks for more where hand-offs are free; False when that brought nothing and nothing is under way."""
        now = self._clock()
        under_way = self._under_way
        free = min(self._capacity - under_way, self._pool.room(now) - (under_way - len(self._moved)))
        if free > 0 and not self._parked and (now >= self._ask_at or not under_way):  # those parked are to be followed
            self._ask(free, now)
        return bool(self._under_way or self._finished)

    def _ask(self, free: int, now: float) -> None:
        if self._is_halted or self._pool.is_shut_out(now):
            return
        taken = self._take(free)
        self._waiting.extend(_UnderWay(envelope, now) for envelope in taken)
        self._ask_at = now if len(taken) == free else now + ASK_AGAIN_SECONDS

    def _give_out(self, now: float) -> None:
        """Gives waiting envelopes to connections, and has more opened where there are too few."""
        self._halt_if_resting(now)
        begun = []
        for queue, fresh in ((self._moved, True), (self._waiting, False)):
            while queue and (connection := self._pool.acquire(fresh=fresh, now=now)):
                self._busy[connection] = under_way = queue.popleft()
                connection.begin(
                    under_way.envelope, now, give_up_at=self._give_up_at(under_way), trusted=self._route.is_trusted(now)
                )
                begun.append(connection)
        self._go_on(begun, now)
        if self._waiting or self._moved:
            self._pool.grow(len(self._waiting) + len(self._moved), now)
            self._heed_trouble(now)
        if self._route.in_use:
            self._let_go_of_late(now)

    def _give_up_at(self, under_way: _UnderWay) -> float:
        return under_way.since + self._route.relay.timeouts.attempt

    def _patience(self) -> float:
        if self._parked or self._finished:
            return LINGER_SECONDS if len(self._busy) > len(self._parked) else 0.0
        if self._pool.awaits_address and (self._waiting or self._moved):
            return ADDRESS_WAIT_SECONDS
        return ASK_AGAIN_SECONDS if self._under_way < self._capacity else LONGEST_WAIT_SECONDS

    # -- serving ---------------------------------------------------------------------------------------------------

    def _serve(self, seconds: float) -> bool:
        """Waits for events and answers them; says whether there were any."""
        ready = self._pool.wait(seconds)
        now = self._clock()
        for connection in ready:
            connection.on_event()
        self._go_on(ready, now)
        for connection in self._pool.overdue(now):
            connection.time_out(now)
            self._attend(connection, now)
        self._part_from_slow(now)
        self._heed_trouble(now)
        self._halt_if_resting(now)
        return bool(ready)

    def _go_on(self, connections: Sequence[Connection], now: float) -> None:
        """Writes what the connections have to say, then looks how far each has come."""
        for connection in connections:
            connection.flush(now)
        for connection in connections:
            self._attend(connection, now)

    def _attend(self, connection: Connection, now: float) -> None:
        under_way = self._busy.get(connection)
        transaction = connection.dialogue.transaction
        if under_way is None or transaction is None:
            self._pool.attend(connection, now)
        elif transaction.is_over:
            self._finish(connection, under_way, now)
        else:
            if connection.is_parked:
                self._parked[connection] = under_way
                if transaction.early:
                    self._route.has_followed()
            self._pool.watch(connection)

    def _finish(self, connection: Connection, under_way: _UnderWay, now: float) -> None:
        self._parked.pop(connection, None)
        transaction = connection.finish(now)
        if transaction.unheard and not connection.is_fresh:
            self._may_follow = self._may_follow and not transaction.early  # perhaps this relay does not like it
            self._moved.append(under_way)
        else:
            outcomes = transaction.outcomes
            self._end(under_way, outcomes, now)
            if transaction.heard:
                self._tell_breaker(outcomes, now)
            if transaction.followed and any(outcome.verdict is Verdict.UNCERTAIN for outcome in outcomes):
                self._route.has_not_followed(now)
        if following := self._following.pop(connection, None):
            self._busy[connection] = following
            return self._attend(connection, now)
        del self._busy[connection]
        if connection.dialogue.broken:
            self._pool.drop(connection)
        elif connection.emails >= EMAILS_PER_CONNECTION:
            self._pool.quit(connection)
        else:
            self._pool.release(connection)

    def _pass_fence(self) -> None:
        """Asks once for all that are parked, then ends the messages that may go on; the next emails follow at once."""
        if not self._parked:
            return
        self._look_ahead()
        allowed = ask(self._fence, [under_way.envelope.email_id for under_way in self._parked.values()])
        asked = list(self._parked.items())
        self._serve(0.0)  # while the fence was asked, a relay may have left: then there is no doubt yet
        now = self._clock()
        trusted = self._route.is_trusted(now)
        still_there = [(connection, under_way) for connection, under_way in asked if self._parked.pop(connection, None)]
        for connection, under_way in still_there:
            if under_way.envelope.email_id not in allowed:
                connection.dialogue.release()
            elif self._waiting and self._may_be_followed(connection, now):
                self._route.follow(now)
                self._following[connection] = following = self._waiting.popleft()
                connection.write_dot(following.envelope, now, give_up_at=self._give_up_at(following), trusted=trusted)
            else:
                connection.write_dot(None, now, give_up_at=math.inf, trusted=trusted)
        self._go_on([connection for connection, _ in still_there], now)

    # -- following ---------------------------------------------------------------------------------------------------

    def _may_be_followed(self, connection: Connection, now: float) -> bool:
        if not (connection.may_be_followed and self._may_follow and self._route.may_follow(now)):
            return False
        return connection.emails + 1 < EMAILS_PER_CONNECTION

    def _look_ahead(self) -> None:
        """Asks for emails that may follow those parked: one piece to send for each in place of two."""
        now = self._clock()
        wanted = sum(self._may_be_followed(connection, now) for connection in self._parked) - len(self._waiting)
        if wanted > 0 and now >= self._ask_at:
            self._ask(wanted, now)

    def _part_from_slow(self, now: float) -> None:
        """No email waits for long behind another's dot: it goes to another connection."""
        while self._following:
            connection = next(iter(self._following))
            if not connection.is_slow(now):
                return
            connection.dialogue.part()
            self._waiting.appendleft(self._following.pop(connection))

    # -- ending ----------------------------------------------------------------------------------------------------

    def _end(self, under_way: _UnderWay, outcomes: Sequence[Outcome], now: float) -> None:
        self._ask_at = now
        envelope = under_way.envelope
        self._finished.append(
            HandOff(email_id=envelope.email_id, relay=self._relay, seconds=now - under_way.since, outcomes=outcomes)
        )

    def _tell_breaker(self, outcomes: Sequence[Outcome], now: float) -> None:
        """What the relay has answered about one email says whether it is good for others."""
        for outcome in outcomes:
            if outcome.reply is None:
                continue
            if outcome.verdict is Verdict.ACCEPTED:
                self._route.has_taken(now)
            if outcome.verdict is not Verdict.ROUTE:
                return self._route.breaker.succeeded()
            said = f"the relay answers {outcome.reply.code} at {outcome.phase.upper()}"
            return self._route.breaker.refused(now, f"{said}: it wants other credentials or encryption")

    def _heed_trouble(self, now: float) -> None:
        """A connection could not be set up: the envelopes that wait for one end, unless others work. Where those belong
        to other sends, these may have the envelopes at once."""
        trouble, self._pool.trouble = self._pool.trouble, None
        if trouble is None or self._pool.is_opening:
            return
        self._route_out(self._moved, trouble, now)
        if not self._busy and not self._pool.has_idle:
            others_work = self._route.in_use and self._route.breaker.state is State.CLOSED
            self._route_out(self._waiting, trouble, now, Verdict.RELEASED if others_work else Verdict.ROUTE)

    def _let_go_of_late(self, now: float) -> None:
        """There are fewer connections than emails: what waits long goes back, so that urgent emails come before it."""
        late = deque([under_way for under_way in self._waiting if now >= under_way.since + LONGEST_QUEUE_SECONDS])
        if late:
            self._route.refused_one_more(now)
            self._waiting = deque([under_way for under_way in self._waiting if under_way not in late])
            self._route_out(late, RouteTrouble(Phase.CONNECT, "no connection was free"), now, Verdict.RELEASED)

    def _halt_if_resting(self, now: float) -> None:
        """While the breaker is open nothing new is begun; this send takes no more and ends."""
        breaker = self._route.breaker
        if self._is_halted or breaker.state is State.CLOSED or not breaker.resting(now):
            return
        self._is_halted = True
        trouble = RouteTrouble(Phase.CONNECT, f"the relay is left alone for a while: {breaker.reason}")
        self._route_out(self._moved, trouble, now)
        self._route_out(self._waiting, trouble, now)

    def _route_out(
        self, queue: deque[_UnderWay], trouble: RouteTrouble, now: float, verdict: Verdict = Verdict.ROUTE
    ) -> None:
        while queue:
            under_way = queue.popleft()
            outcomes = [
                Outcome(
                    recipient=recipient,
                    verdict=verdict,
                    phase=trouble.phase,
                    message=str(trouble),
                    reply=trouble.reply,
                )
                for recipient in under_way.envelope.rcpt_to
            ]
            self._end(under_way, outcomes, now)
