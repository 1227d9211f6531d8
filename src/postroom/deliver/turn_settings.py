"""The constants of a turn, as one value."""

from dataclasses import dataclass
from datetime import timedelta

from postroom.mail.retry import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSettings:
    """The constants of a turn.

    A claim before its final dot lasts `lease`, after it `doubt_lease`; both are renewed until the attempt is
    `attempt_limit` old. `claim_size` bounds one claim, `bytes_under_way` the large messages in memory. A stop waits
    `stop_limit` for what is under way.

    After `turn_limit` a turn takes nothing new for `turn_pause`, so that it can end; if a slow recipient keeps it from
    ending, it goes on for another `turn_limit`, and so forth until it is `turn_age` old.
    """

    policy: RetryPolicy
    lease: timedelta
    doubt_lease: timedelta
    attempt_limit: timedelta
    turn_limit: timedelta = timedelta(seconds=60)
    turn_pause: timedelta = timedelta(seconds=5)
    turn_age: timedelta = timedelta(minutes=10)
    stop_limit: timedelta
    claim_size: int
    bytes_under_way: int = 64 * 1024 * 1024
    return_path: str | None = None
