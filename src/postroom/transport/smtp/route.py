"""What all sends of one process share about the relay: idle connections, the circuit breaker, the relay's addresses."""

import logging
import os
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from postroom.mail.outcome import Phase
from postroom.transport.breaker import Breaker
from postroom.transport.smtp.connection import IDLE_SECONDS, Connection, limits
from postroom.transport.smtp.lookup import Address, Lookup
from postroom.transport.smtp.opening import RouteTrouble
from postroom.transport.smtp.relay import Relay, Tls

log = logging.getLogger(__name__)

EMAILS_PER_CONNECTION = 100
TRUSTED_SECONDS = 600.0  # after it took an email, the relay is known to take mail from us
UNENCRYPTED_SECONDS = 300.0  # before encryption that did not work is tried again
FULL_SECONDS = 60.0  # before a send without a connection tries again, while others of the process have some
UNPROVEN_SECONDS = 60.0  # before another email follows behind a dot, while none is known to have done so well
UNFOLLOWED_SECONDS = 86_400.0  # and after the first to do so has left the email before in doubt


class Route:
    """Safe to use from many threads. A connection belongs to one send from `borrow` or `connect` until `give_back`;
    `in_use` has those, of all sends, that the relay has let in."""

    def __init__(self, relay: Relay, context: ssl.SSLContext | None, *, random: Callable[[], float]) -> None:
        self.pid = os.getpid()
        self.relay = relay
        self.breaker = Breaker(relay.name, random=random)
        self.lookup = Lookup(relay.host, relay.port, limit_seconds=relay.timeouts.connect)
        self._context = context
        self._unencrypted = replace(relay, tls=Tls.NONE) if relay.may_go_unencrypted else relay
        self._unencrypted_until = 0.0
        self._trusted_until = 0.0
        self._follows = False
        self._follow_at = 0.0
        self.in_use: set[Connection] = set()  # without the lock: one step each to add, to discard and to see if any
        self._full_until = 0.0
        self._limits = limits(relay.timeouts)
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Connection]] = []  # since when; the newest last

    def connect(self, addresses: Sequence[Address], now: float) -> Connection:
        """Starts to connect to the first of these addresses. Raises `RouteTrouble` where no socket can be had."""
        relay = self._unencrypted if now < self._unencrypted_until else self.relay
        try:
            return Connection(relay, self._context, addresses, self._limits, now=now)
        except OSError as exc:
            raise RouteTrouble(Phase.CONNECT, f"cannot connect: {exc.strerror}") from exc

    def has_taken(self, now: float) -> None:
        """The relay took an email."""
        self._trusted_until = now + TRUSTED_SECONDS  # without the lock: once per email, and a lost race costs nothing

    def is_trusted(self, now: float) -> bool:
        """Whether the relay is known to take mail from us; see `refusal`."""
        return now < self._trusted_until

    def refused_one_more(self, now: float) -> None:
        """A connection could not be set up. If others stand, the relay is not down: it allows no more of them."""
        self._full_until = now + FULL_SECONDS

    def let_in_one_more(self) -> None:
        """A connection could be set up: the relay has room again, or never was full."""
        self._full_until = 0.0

    def is_full(self, now: float) -> bool:
        """Whether a send without a connection would not get one now, while others of this process have some."""
        return now < self._full_until and bool(self.in_use) and not self._idle

    # Following needs no lock, either: a lost race costs one more try.

    def may_follow(self, now: float) -> bool:
        """Whether an email may begin with the final dot of the one before."""
        return now >= self._follow_at

    def follow(self, now: float) -> None:
        """One begins so. Until one is known to have done so well, it is the only one: there are relays that crash over
        it (Dovecot 2.3's submission service), and leave in doubt the email before."""
        if not self._follows:
            self._follow_at = now + UNPROVEN_SECONDS

    def has_followed(self) -> None:
        """The relay took it well."""
        self._follows = True
        self._follow_at = 0.0

    def has_not_followed(self, now: float) -> None:
        """No clear reply came to the dot that was followed. Where it had gone well before, that may be chance."""
        self._follow_at = now + (UNPROVEN_SECONDS if self._follows else UNFOLLOWED_SECONDS)
        self._follows = False

    def goes_unencrypted(self, trouble: RouteTrouble, now: float) -> bool:
        """Whether to connect once more after this trouble: encryption was opportunistic and did not work. The relay is
        used without it for five minutes then, and only the first to find out says so."""
        if trouble.phase is not Phase.STARTTLS or trouble.reply or not self.relay.may_go_unencrypted:
            return False
        with self._lock:
            is_news = now >= self._unencrypted_until
            if is_news:
                self._unencrypted_until = now + UNENCRYPTED_SECONDS
        if is_news:
            extra = {"relay": self.relay.name, "seconds": UNENCRYPTED_SECONDS, "reason": str(trouble)}
            log.warning("relay not encrypted", extra=extra)
        return True

    def borrow(self, now: float) -> Connection | None:
        """An idle connection that is still good, if there is one."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, connection = self._idle.pop()
            if connection.is_silent():
                if now < since + IDLE_SECONDS:
                    return connection
                connection.quit()
            connection.close()

    def give_back(self, connection: Connection, now: float) -> None:
        """Keeps an idle connection for a later send, unless there are enough."""
        connection.is_fresh = False
        with self._lock:
            if len(self._idle) < self.relay.connections:
                self._idle.append((now, connection))
                return
        connection.quit()
        connection.close()

    def let_go(self, now: float) -> None:
        """Says goodbye on those that have been idle too long: a relay may allow only so many, and others wait."""
        with self._lock:
            count = sum(now >= since + IDLE_SECONDS for since, _ in self._idle)
            old, self._idle = self._idle[:count], self._idle[count:]
        _say_goodbye(old)

    def close(self) -> None:
        """Says goodbye on idle connections."""
        with self._lock:
            taken, self._idle = self._idle, []
        _say_goodbye(taken)

    def forget(self) -> None:
        """Lets go of connections that belong to another process, without a word on the wire they share."""
        for _, connection in self._idle:  # without the lock: at the fork, a thread that is gone may have held it
            connection.close()


def _say_goodbye(idle: Sequence[tuple[float, Connection]]) -> None:
    for _, connection in idle:
        connection.quit()
        connection.close()
