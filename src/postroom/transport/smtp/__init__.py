"""The SMTP transport: hands emails to one relay over pooled, pipelined connections, driven from the caller's thread."""

import os
import random as random_module
import time
from collections.abc import Callable, Generator, Sequence

from postroom.mail.outcome import HandOff
from postroom.transport.base import Fence, Take
from postroom.transport.breaker import State
from postroom.transport.smtp import ping
from postroom.transport.smtp.relay import Relay, Timeouts, Tls
from postroom.transport.smtp.route import Route
from postroom.transport.smtp.send import SendLoop
from postroom.transport.smtp.wire import tls_context

__all__ = ["Relay", "SmtpTransport", "Timeouts"]


class SmtpTransport:
    """Implements `Transport`. Opens nothing before the first `send` or `ping`, and forgets its connections in a forked
    child. Raises `ValueError` when `relay.ca_file` cannot be used."""

    def __init__(
        self,
        relay: Relay,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._relay = relay
        self._clock = clock
        self._random = random
        self._context = None if relay.tls is Tls.NONE else tls_context(relay)
        self._shared = self._new_route()

    @property
    def relay(self) -> str:
        """The relay's URL without credentials."""
        return self._relay.name

    @property
    def capacity(self) -> int:
        """One hand-off per connection."""
        return self._relay.connections

    def send(self, take: Take, *, fence: Fence) -> Generator[Sequence[HandOff], None, None]:
        """See `Transport.send`. While the breaker is open, what was taken ends as `ROUTE` and no more is taken.
        Where the relay allows a send no connection but has let in another, it is `RELEASED` for that one."""
        yield from SendLoop(self._route(), take=take, fence=fence, clock=self._clock).run()

    def resting(self) -> float:
        """See `Transport.resting`."""
        return self._route().breaker.resting(self._clock())

    @property
    def is_down(self) -> bool:
        """See `Transport.is_down`."""
        return self._route().breaker.state is not State.CLOSED

    def ping(self) -> None:
        """See `Transport.ping`. Does not touch the breaker."""
        ping.ping(self._route(), clock=self._clock)

    def close(self) -> None:
        """See `Transport.close`."""
        self._route().close()

    def _route(self) -> Route:
        if self._shared.pid != os.getpid():  # forked: the parent goes on using its connections
            self._shared.forget()
            self._shared = self._new_route()
        return self._shared

    def _new_route(self) -> Route:
        return Route(self._relay, self._context, random=self._random)
