"""Finds the relay's addresses. Name servers may take long to answer, so that a thread asks them and nobody waits."""

import ipaddress
import socket
import threading
from typing import Any, NamedTuple

from postroom.mail.outcome import Phase
from postroom.transport.smtp.opening import RouteTrouble

REMEMBERED_SECONDS = 60.0
MOST_ADDRESSES = 4


class Address(NamedTuple):
    """Where to connect to, as the `socket` module wants it."""

    family: int
    sockaddr: Any  # its shape depends on the family


class Lookup:
    """The addresses of one host, asked for when needed and remembered for a minute. Safe to use from many threads."""

    def __init__(self, host: str, port: int, *, limit_seconds: float) -> None:
        self._host = host
        self._port = port
        self._limit_seconds = limit_seconds
        self._lock = threading.Lock()
        self._known: tuple[Address, ...] = ()
        self._known_until = 0.0
        self._question: _Question | None = None

    def addresses(self, now: float) -> tuple[Address, ...] | None:
        """The addresses, the one that worked last first; None while the answer is awaited. Raises `RouteTrouble`."""
        with self._lock:
            if self._known and now < self._known_until:
                return self._known
            if self._question is None:
                self._question = _Question(self._host, self._port, asked_at=now)
            found = self._answer(self._question, now)
            if found:
                self._known, self._known_until = found, now + REMEMBERED_SECONDS
            return found

    def prefer(self, address: Address) -> None:
        """This one works: try it first from now on."""
        with self._lock:
            if self._known and self._known[0] != address:
                self._known = (address, *(other for other in self._known if other != address))

    def _answer(self, question: "_Question", now: float) -> tuple[Address, ...] | None:
        if question.found is None and question.problem is None and now < question.asked_at + self._limit_seconds:
            return None
        self._question = None
        if question.found:
            return question.found
        problem = question.problem or "no name server answers"
        raise RouteTrouble(Phase.CONNECT, f"cannot find the relay's address: {problem}")


class _Question:
    """One question, asked by a thread of its own unless the answer is plain."""

    def __init__(self, host: str, port: int, *, asked_at: float) -> None:
        self.asked_at = asked_at
        self.problem: str | None = None
        self.found = _without_asking(host, port)
        if self.found is None:
            threading.Thread(target=self._ask, args=(host, port), name="relay-lookup", daemon=True).start()

    def _ask(self, host: str, port: int) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            self.problem = getattr(exc, "strerror", None) or "the name is malformed"
            return
        distinct = dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found)
        self.found = tuple(distinct)[:MOST_ADDRESSES]


def _without_asking(host: str, port: int) -> tuple[Address, ...] | None:
    """`localhost` is this machine (RFC 6761 §6.3); a numeric address is its own."""
    names = ["127.0.0.1", "::1"] if host.lower() == "localhost" else [host]
    try:
        numbers = [ipaddress.ip_address(name) for name in names]
    except ValueError:
        return None
    return tuple(
        Address(socket.AF_INET if number.version == 4 else socket.AF_INET6, (str(number), port)) for number in numbers
    )
