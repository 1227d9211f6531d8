"""What every store must know of a call that claims emails."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

# Whoever meets emails past their deadline in the way of others puts them off. The sweep will fail them; but where a
# backlog of days expires at once, it needs minutes for that, and each look for due emails would go through all of them.
PUT_OFF_FOR = timedelta(hours=1)
PUT_OFF_AT_ONCE = 1000  # in each lane


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
