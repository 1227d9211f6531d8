"""Connections to one Redis: opened after a fork, checked, reused, and never trusted blindly before a write."""

import os
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from redis.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import RedisError, ResponseError

from postroom.errors import StoreError, StoreUnavailable
from postroom.store.redis import faults, server
from postroom.store.redis.server import Durability, Server
from postroom.store.redis.session import Command, Session
from postroom.store.redis.wire import DriverConnection, Wire
from postroom.store.server_clock import ServerClock

SOCKET_SECONDS = 1.5  # for each step of making a connection, and for sending
PROBE_SECONDS = 1.2
CALL_SECONDS = 2.8  # for all of one call
LEAST_SECONDS = 0.1  # with less left, a new connection is not worth trying

_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_DATABASE = re.compile(r"/?|/[0-9]{1,9}")


class Connections:
    """Where one Redis is, and the idle connections to it. Safe for threads and forks: nothing in it is locked."""

    def __init__(self, url: str, *, durability: Durability, clock: ServerClock) -> None:
        """Connects to nothing yet. Raises `ValueError` as `check_url` does."""
        self._connection_class, self._options = _read(url)
        self.address = _address(self._options)
        self._durability = durability
        self._clock = clock
        self._idle: deque[Session] = deque()
        self._closed = False

    def deadline(self) -> float:
        """The monotonic time at which a call that begins now must have ended."""
        return time.monotonic() + CALL_SECONDS

    @contextmanager
    def session(
        self, *, writing: bool = False, asking: Sequence[Command] = (), deadline: float | None = None
    ) -> Iterator[Session]:
        """A connection for one call, or until the deadline of several. Raises `StoreUnavailable` when there is none.

        Before a write the server has shown that it is alive, so that a dead or frozen one leaves no write in doubt. In
        the same exchange it is asked what a writer wants to know first.
        """
        deadline = deadline or self.deadline()
        session = self._reused(deadline, asking, writing=writing) or self._opened(deadline, asking)
        try:
            yield session
        except StoreError:
            session.wire.close()  # after a failover, a new connection may lead to the new primary
            raise
        finally:
            self._put_back(session)

    def look(self) -> Server:
        """What kind of server answers, even an unfit one. Raises `StoreUnavailable`; `Unfit` for a wrong password."""
        session = self._connected(self.deadline())
        try:
            return _asked(session)
        finally:
            session.wire.close()

    def close(self) -> None:
        """Closes idle connections now, and each other one when its call ends."""
        self._closed = True
        while self._idle:
            self._idle.pop().wire.close()

    def _reused(self, deadline: float, asking: Sequence[Command], *, writing: bool) -> Session | None:
        """An idle connection that still works."""
        while self._idle:
            try:
                session = self._idle.pop()
            except IndexError:  # another thread was quicker
                return None
            session.deadline = deadline
            if session.wire.pid != os.getpid():
                session.wire.close()
                continue
            if writing or self._clock.stale:
                return session if self._is_alive(session, asking) else None
            if session.wire.is_quiet():
                return session
            session.wire.close()
        return None

    def _is_alive(self, session: Session, asking: Sequence[Command]) -> bool:
        deadline = session.deadline
        session.deadline = min(deadline, time.monotonic() + PROBE_SECONDS)
        try:
            self._begin(session, asking)
        except StoreError:
            session.wire.close()
            return False
        session.deadline = deadline
        return True

    def _opened(self, deadline: float, asking: Sequence[Command]) -> Session:
        session = self._connected(deadline)
        try:
            found = _asked(session)
            server.refuse_if_unfit(found, self.address, self._durability)
            if found.layout is None:
                session.write(("SET", server.LAYOUT_KEY, server.LAYOUT, "NX"), durable=False)
            self._begin(session, asking)
        except BaseException:
            session.wire.close()
            raise
        session.waits_for_disk = self._durability == "strict" and found.waits_for_disk
        return session

    def _connected(self, deadline: float) -> Session:
        if self._closed:
            raise StoreUnavailable("this store was closed")
        left = deadline - time.monotonic()
        if left < LEAST_SECONDS:
            raise faults.of_connection(self.address, TimeoutError(), in_doubt=False)
        connection = self._new_connection(min(left, SOCKET_SECONDS))
        try:
            connection.connect()
            wire = Wire(connection, send_seconds=SOCKET_SECONDS)
        except (RedisError, OSError) as error:
            raise faults.of_connection(self.address, error, in_doubt=False) from error
        return Session(wire, self.address, deadline)

    def _new_connection(self, patience_seconds: float) -> DriverConnection:
        timeouts = {"socket_connect_timeout": patience_seconds, "socket_timeout": patience_seconds}
        return cast(DriverConnection, self._connection_class(**{**self._options, **timeouts}))

    def _begin(self, session: Session, asking: Sequence[Command]) -> None:
        """Learns the server's time, and what is asked besides."""
        asked_at = time.monotonic()
        (seconds, microseconds), *session.answers = session.ask_all([("TIME",), *asking])
        server_seconds = int(seconds) + int(microseconds) / 1_000_000
        self._clock.learn(server_seconds, asked_at=asked_at, answered_at=time.monotonic())

    def _put_back(self, session: Session) -> None:
        if session.wire.in_sync and not self._closed:
            self._idle.append(session)
        else:
            session.wire.close()


def _asked(session: Session) -> Server:
    replies = session.exchange(server.QUESTIONS)
    for reply in (replies[0], replies[-1]):
        if isinstance(reply, ResponseError) and (reply is replies[0] or str(reply).startswith("LOADING")):
            raise faults.of_reply(session.address, reply)
    return server.read(replies)


def check_url(url: str) -> None:
    """Raises `ValueError` with one sentence that has no part of the URL in it, for a password may stand anywhere."""
    _read(url)


def _read(url: str) -> tuple[type[AbstractConnection], dict[str, Any]]:
    try:
        if not _DATABASE.fullmatch(urlsplit(url).path):
            raise ValueError  # the driver would take another database
        options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]  # the driver leaves it untyped
        connection_class = options.pop("connection_class", Connection)
        options |= {"client_name": "postroom", "driver_info": None, "protocol": 2}
        connection_class(**options)
    except (TypeError, ValueError, RedisError):
        raise ValueError(
            "must be redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], or rediss:// for TLS, special characters in the "
            "password percent-encoded"
        ) from None  # the cause may hold the password
    try:
        for name in _FILES & options.keys():
            Path(options[name]).read_bytes()
    except OSError as error:
        raise ValueError(f"names a certificate file that cannot be read ({error.strerror})") from None
    return connection_class, options


def _address(options: dict[str, Any]) -> str:
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
