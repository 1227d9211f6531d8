"""When a turn looks into the store for due emails: often enough to keep the relay busy, seldom enough to be cheap."""

from datetime import datetime, timedelta

from postroom.deliver.turn_settings import TurnSettings
from postroom.mail.email import Lane

PAUSE = timedelta(milliseconds=100)  # after a look that found nothing, or one for urgent emails
# After a look that found less than there was room for: a claim of many emails costs hardly more than a claim of one.
LINGER = timedelta(milliseconds=50)


class Looks:
    """The next look for urgent emails, and the next for all. Arithmetic on times that come in."""

    def __init__(self, settings: TurnSettings, began: datetime) -> None:
        self._settings = settings
        self._began = began
        self._next = {Lane.URGENT: began + PAUSE, Lane.BULK: began}  # into this lane and the more urgent ones
        self._more_to_come = False  # whether the last found some, and the next may find those that came meanwhile

    def is_due(self, lowest: Lane, now: datetime) -> bool:
        """Whether to look into the lanes down to this one: not too often, and not while the turn may end."""
        settings, age = self._settings, now - self._began
        may_end = age >= settings.turn_age or age % (settings.turn_limit + settings.turn_pause) >= settings.turn_limit
        return not may_end and now >= self._next[lowest]

    def begin(self, lowest: Lane, now: datetime) -> None:
        """One begins."""
        self._next[lowest] = now + PAUSE

    def found(self, count: int, limit: int, now: datetime) -> None:
        """Of at most so many emails there were so many: where there may be more already, the next look is at once."""
        self._more_to_come = count > 0
        if count == limit:
            self.hurry(now)
        elif count:
            self._next[Lane.BULK] = now + LINGER

    def hurry(self, now: datetime) -> None:
        """The next look into all lanes is due."""
        self._next[Lane.BULK] = now

    def seconds_to_wait(self, now: datetime) -> float:
        """How long to wait for the next look into all lanes, if that may well find some; else 0, or less."""
        return (self._next[Lane.BULK] - now).total_seconds() if self._more_to_come else 0.0
