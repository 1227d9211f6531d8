"""The circuit breaker: leaves a relay alone that is down or refuses us, and lets one probe find out when it is back.

Arithmetic on times that come in; it neither connects nor reads a clock. Safe to use from many threads.
"""

import logging
import threading
from collections.abc import Callable
from enum import StrEnum

log = logging.getLogger(__name__)

FAILURES_ALLOWED = 3
SHORTEST_REST_SECONDS = 5.0
LONGEST_REST_SECONDS = 60.0


class State(StrEnum):
    """Whether the relay may be used."""

    CLOSED = "closed"  # yes
    OPEN = "open"  # not until the rest is over; then one connection may probe
    PROBING = "probing"  # that one is under way, the others wait for what it finds


class Breaker:
    """Opens after three failures in a row, or one that cannot pass by itself; rests 5 s, doubling to 60 s, with jitter.

    A connection that was let in closes it. What the rest has grown to, and refusals after that, are forgotten only when
    an email got a proper answer: a relay may greet us and yet take nothing.
    """

    def __init__(self, relay: str, *, random: Callable[[], float]) -> None:
        self._relay = relay
        self._random = random
        self._lock = threading.Lock()
        self._state = State.CLOSED
        self._proven = False
        self._failed_openings = 0
        self._refusals = 0
        self._rest_seconds = SHORTEST_REST_SECONDS
        self._rests_until = 0.0
        self._reason = ""

    @property
    def reason(self) -> str:
        """Why it opened last."""
        return self._reason

    @property
    def state(self) -> State:
        """Whether the relay may be used."""
        return self._state

    @property
    def proven(self) -> bool:
        """Whether the newest attempt to connect went well, so that several at a time are worth it."""
        return self._proven

    def resting(self, now: float) -> float:
        """Seconds left of the rest; 0 when the relay may be used or probed."""
        with self._lock:
            return max(0.0, self._rests_until - now) if self._state is State.OPEN else 0.0

    def admit(self, now: float) -> bool:
        """Whether a connection may be opened now. After a rest exactly one may, and it must end with `connected`,
        `failed` or `abandon`."""
        with self._lock:
            if self._state is State.OPEN and now >= self._rests_until:
                self._state = State.PROBING
                return True
            return self._state is State.CLOSED

    def abandon(self) -> None:
        """The probe was given up and has found nothing: another may probe at once."""
        with self._lock:
            if self._state is State.PROBING:
                self._state = State.OPEN

    def connected(self) -> None:
        """The relay let a connection in, ready for mail."""
        with self._lock:
            was_resting = self._state is not State.CLOSED
            self._state = State.CLOSED
            self._proven = True
            self._failed_openings = 0
        if was_resting:
            log.info("relay up", extra={"relay": self._relay})

    def succeeded(self) -> None:
        """The relay gave an email a proper answer, whichever."""
        self._failed_openings = self._refusals = 0  # without the lock: once per email, and a lost race costs nothing
        self._rest_seconds = SHORTEST_REST_SECONDS

    def failed(self, now: float, reason: str, *, lasting: bool = False) -> None:
        """A connection could not be set up; `lasting`: waiting will not mend it, as with a refused password."""
        with self._lock:
            self._proven = False
            self._failed_openings += 1
            rest = self._open_if(now, lasting or self._failed_openings >= FAILURES_ALLOWED, reason)
        self._tell(rest, reason)

    def refused(self, now: float, reason: str) -> None:
        """The relay let us in and then refused us, not the email: authentication or encryption required, and such."""
        with self._lock:
            self._refusals += 1
            rest = self._open_if(now, self._refusals >= FAILURES_ALLOWED, reason)
        self._tell(rest, reason)

    def _open_if(self, now: float, enough: bool, reason: str) -> float:
        """Opens when it is enough, or again after a rest; returns the rest in seconds, 0 when it did not open."""
        if self._state is State.OPEN and now < self._rests_until:
            return 0.0  # others that were under way when it opened
        if self._state is State.CLOSED and not enough:
            return 0.0
        rest = min(self._rest_seconds * (0.75 + self._random() / 2), LONGEST_REST_SECONDS)
        self._rest_seconds = min(2 * self._rest_seconds, LONGEST_REST_SECONDS)
        self._rests_until = now + rest
        self._state = State.OPEN
        self._refusals = 0
        self._reason = reason
        return rest

    def _tell(self, rest: float, reason: str) -> None:
        if rest:
            log.error("relay down", extra={"relay": self._relay, "seconds": round(rest, 1), "reason": reason})
