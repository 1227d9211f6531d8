"""The connections of one `send`: which are idle, which are being opened, when to open more, and when to stop trying."""

import selectors
from collections.abc import Collection, Sequence

from postroom.transport.breaker import State
from postroom.transport.smtp.connection import Connection
from postroom.transport.smtp.lookup import Address
from postroom.transport.smtp.opening import RouteTrouble
from postroom.transport.smtp.route import Route

OPENING_AT_ONCE = 4  # once one has worked; until then a single one probes
GROW_AGAIN_SECONDS = 5.0  # after the relay refused one more connection, as long as another one works
CHECK_SECONDS = 0.05


class ConnectionPool:
    """`trouble` holds the newest reason for which a connection could not be set up, until it is taken away.

    Belongs to one thread. Connections come in by `acquire` and `grow`, and go out by `drop`, `quit` or `close`.
    """

    def __init__(self, route: Route) -> None:
        self.trouble: RouteTrouble | None = None
        self.awaits_address = False
        self._route = route
        self._selector = selectors.DefaultSelector()
        self._all: set[Connection] = set()
        self._idle: list[Connection] = []
        self._opening: dict[Connection, RouteTrouble | None] = {}  # with what was wrong at the addresses before
        self._grow_at = 0.0
        self._at_once = OPENING_AT_ONCE
        self._more = route.relay.connections  # than there are may be tried
        self._check_at = 0.0
        self._is_probing = False

    @property
    def is_opening(self) -> bool:
        """Whether a connection is being set up."""
        return bool(self._opening)

    def is_shut_out(self, now: float) -> bool:
        """Whether to leave emails to other sends of this process: they have all connections that the relay allows."""
        return len(self._all) == len(self._opening) and self._route.is_full(now)

    def room(self, now: float) -> int:
        """How many emails this send should have in hand: as many as there may be connections; once the relay has
        refused one more, as many as there are, and another while one more may be tried, twice as many each time that
        it may."""
        most = self._route.relay.connections
        let_in = len(self._all) - len(self._opening)
        if not let_in:
            return most
        return min(let_in + (self._more if now >= self._grow_at else 0), most)

    @property
    def has_idle(self) -> bool:
        """Whether a connection is ready for an email."""
        return bool(self._idle)

    # -- events ----------------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> list[Connection]:
        """The connections on which something has happened, as soon as there is one."""
        return [key.data for key, _ in self._selector.select(seconds)]

    def overdue(self, now: float) -> list[Connection]:
        """The connections whose time is up; looks only now and then."""
        if now < self._check_at:
            return []
        self._check_at = now + CHECK_SECONDS
        return [connection for connection in self._all if connection.is_overdue(now)]

    def attend(self, connection: Connection, now: float) -> None:
        """After an event on a connection that carries no email."""
        if connection in self._opening:
            self._attend_opening(connection, now)
        elif connection.dialogue.broken and connection in self._all:
            self._idle.remove(connection)
            self.quit(connection)
        if connection in self._all:
            self.watch(connection)

    def watch(self, connection: Connection) -> None:
        """Tells the selector what this connection now waits for."""
        if connection.wants_write is not connection.is_watched_for_write:
            self._selector.modify(connection.fileno(), _events(connection), connection)
            connection.is_watched_for_write = connection.wants_write

    # -- coming and going --------------------------------------------------------------------------------------------

    def acquire(self, *, fresh: bool, now: float) -> Connection | None:
        """A connection that is ready for an email, of this send or kept from an earlier one; `fresh` asks for one that
        has never been idle."""
        for i in range(len(self._idle) - 1, -1, -1):
            if self._idle[i].is_fresh or not fresh:
                return self._idle.pop(i)
        if fresh or len(self._all) >= self._route.relay.connections:
            return None
        connection = self._route.borrow(now)
        if connection is not None:
            self._join(connection)
            self._route.in_use.add(connection)
        return connection

    def release(self, connection: Connection) -> None:
        """This one has nothing to do."""
        connection.is_fresh = False
        self._idle.append(connection)
        self.watch(connection)

    def grow(self, wanted: int, now: float) -> None:
        """Opens connections for so many waiting emails, gradually, as far as the relay may be troubled now."""
        wanted -= len(self._opening)
        while wanted > 0 and self._make_room() and (addresses := self._may_open(now)):
            self._open(addresses, now)
            wanted -= 1

    def drop(self, connection: Connection) -> None:
        """Closes it at once; a message without its final dot is not delivered."""
        self._leave(connection)
        connection.close()

    def quit(self, connection: Connection) -> None:
        """Says goodbye and closes it."""
        connection.quit()
        self.drop(connection)

    def close(self, busy: Collection[Connection], now: float) -> None:
        """The send ends: keeps the idle for a later one, drops what is under way without any further dot."""
        for connection in (*busy, *self._opening):
            self.drop(connection)
        for connection in self._idle:
            self._leave(connection)
            self._route.give_back(connection, now)
        self._route.let_go(now)
        if self._is_probing:
            self._route.breaker.abandon()
        self._selector.close()

    # -- opening -----------------------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """Whether one more may be opened; an idle one that nobody can use goes for it."""
        if len(self._all) >= self._route.relay.connections and self._idle:
            self.quit(self._idle.pop(0))
        return len(self._all) < self._route.relay.connections

    def _may_open(self, now: float) -> Sequence[Address] | None:
        breaker = self._route.breaker
        if (self._all and now < self._grow_at) or len(self._opening) >= (self._at_once if breaker.proven else 1):
            return None
        try:
            addresses = self._route.lookup.addresses(now)
        except RouteTrouble as trouble:
            self._fail(trouble, now)
            return None
        self.awaits_address = addresses is None
        if addresses is None or not breaker.admit(now):
            return None
        self._is_probing = breaker.state is State.PROBING
        return addresses

    def _open(self, addresses: Sequence[Address], now: float, before: RouteTrouble | None = None) -> None:
        try:
            connection = self._route.connect(addresses, now)
        except RouteTrouble as trouble:
            self._try_next(addresses[1:], trouble.or_rather(before), now)
        else:
            self._opening[connection] = before
            self._join(connection)

    def _try_next(self, addresses: Sequence[Address], trouble: RouteTrouble, now: float) -> None:
        """This address does not let us in; only if it was the last one, the relay does not."""
        if addresses and not trouble.lasting:
            self._open(addresses, now, trouble)
        else:
            self._fail(trouble, now)

    def _attend_opening(self, connection: Connection, now: float) -> None:
        trouble = connection.dialogue.trouble
        if trouble is None and not connection.dialogue.is_open:
            return
        before = self._opening.pop(connection)
        if trouble is None:
            self._is_probing = False
            self._route.breaker.connected()
            self._route.in_use.add(connection)
            self._route.let_in_one_more()
            self._more = min(2 * self._more, self._route.relay.connections)
            self._route.lookup.prefer(connection.address)
            self._idle.append(connection)
            return
        self.drop(connection)
        if self._route.goes_unencrypted(trouble, now):
            return self._open((connection.address, *connection.other_addresses), now, before)
        self._try_next(connection.other_addresses, trouble.or_rather(before), now)

    def _fail(self, trouble: RouteTrouble, now: float) -> None:
        """A relay that serves our other connections is not down: it allows no more of them for now."""
        self.trouble = trouble
        self._at_once = self._more = 1
        self._grow_at = now + GROW_AGAIN_SECONDS
        self._route.refused_one_more(now)
        if trouble.lasting or self._is_probing or not (self._all or self._route.in_use):
            self._route.breaker.failed(now, str(trouble), lasting=trouble.lasting)
        self._is_probing = False

    def _join(self, connection: Connection) -> None:
        """A socket that fails while `ssl` wraps it is closed at once, so that its number may be this one's before the
        broken connection leaves."""
        self._all.add(connection)
        self._forget(connection.fileno())
        self._selector.register(connection.fileno(), _events(connection), connection)
        connection.is_watched_for_write = connection.wants_write

    def _leave(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._route.in_use.discard(connection)
        key = self._selector.get_map().get(connection.fileno())
        if key is not None and key.data is connection:
            self._selector.unregister(key.fd)

    def _forget(self, fileno: int) -> None:
        if fileno in self._selector.get_map():
            self._selector.unregister(fileno)


def _events(connection: Connection) -> int:
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.wants_write else 0)
