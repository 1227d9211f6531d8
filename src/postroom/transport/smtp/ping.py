"""Finds out whether the relay would take mail from us: connects, greets, encrypts, authenticates, says goodbye."""

import selectors
from collections.abc import Callable, Sequence

from postroom.transport.smtp.connection import Connection
from postroom.transport.smtp.lookup import Address
from postroom.transport.smtp.opening import RouteTrouble
from postroom.transport.smtp.route import Route

LONGEST_WAIT_SECONDS = 0.05


def ping(route: Route, *, clock: Callable[[], float]) -> None:
    """Returns when the relay let us in, else raises `ConnectionError`; in any case within the time for connecting and
    greeting together."""
    give_up_at = clock() + route.relay.timeouts.connect + route.relay.timeouts.greeting
    try:
        addresses: Sequence[Address] = _find(route, clock)
        before: RouteTrouble | None = None
        while True:
            try:
                return _open(route, addresses, clock, give_up_at)
            except RouteTrouble as trouble:
                if route.goes_unencrypted(trouble, clock()):
                    continue
                addresses, before = addresses[1:], trouble.or_rather(before)
                if trouble.lasting or not addresses:
                    raise before from None
    except RouteTrouble as trouble:
        raise ConnectionError(f"{route.relay.name} cannot be used: {trouble}") from trouble


def _find(route: Route, clock: Callable[[], float]) -> Sequence[Address]:
    with selectors.DefaultSelector() as nothing:
        while (addresses := route.lookup.addresses(clock())) is None:  # ends by itself: the look-up has its limit
            nothing.select(LONGEST_WAIT_SECONDS)
    return addresses


def _open(route: Route, addresses: Sequence[Address], clock: Callable[[], float], give_up_at: float) -> None:
    connection = route.connect(addresses, clock())
    try:
        _talk(connection, clock, give_up_at)
        connection.quit()
    finally:
        connection.close()


def _talk(connection: Connection, clock: Callable[[], float], give_up_at: float) -> None:
    dialogue = connection.dialogue
    while not dialogue.is_open:
        with selectors.DefaultSelector() as selector:
            writing = selectors.EVENT_WRITE if connection.wants_write else 0
            selector.register(connection.fileno(), selectors.EVENT_READ | writing)
            happened = selector.select(LONGEST_WAIT_SECONDS)
        now = clock()
        if happened:
            connection.on_event()
            connection.flush(now)
        elif connection.is_overdue(now) or now >= give_up_at:
            connection.time_out(now)
        if dialogue.trouble is not None:
            raise dialogue.trouble
