"""What every store must know of a call that claims emails."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """Who claims, when and for how long. Its token is new, and stands for all emails of one call."""

    worker: str
    now: datetime
    lease: timedelta
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def until(self) -> datetime:
        """When the lease ends that it begins with."""
        return self.now + self.lease
