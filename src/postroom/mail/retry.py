"""When to try again: arithmetic on attempts and times. No clock, no queue; randomness comes in."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from postroom.mail import milliseconds

Random = Callable[[], float]
"""Returns a float in [0, 1), as `random.random` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with equal jitter: `base * 2**(attempt - 1)`, at most `cap`, times a factor in [0.5, 1).

    `route_delay` is the pause after the relay itself was the trouble; `doubt_delay` the shortest pause before an
    email that may have been delivered is sent again.
    """

    base: timedelta
    cap: timedelta
    route_delay: timedelta
    doubt_delay: timedelta


def next_attempt(policy: RetryPolicy, attempt: int, *, now: datetime, random: Random) -> datetime:
    """The time of the attempt after number `attempt` (from 1) has had a transient outcome."""
    doublings = min(attempt - 1, 32)  # beyond that any base is above any cap
    delay = min(policy.base * 2**doublings, policy.cap)
    return milliseconds.cut(now + delay * (0.5 + random() / 2))


def after_route_trouble(policy: RetryPolicy, *, now: datetime, random: Random) -> datetime:
    """The time to try again when the relay itself was down or refused us."""
    return milliseconds.cut(now + policy.route_delay * (0.5 + random() / 2))
