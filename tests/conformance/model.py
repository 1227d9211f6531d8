"""What a store must hold after a series of steps, told as simply as possible: the second opinion of the model test."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from postroom.mail import lifecycle
from postroom.mail.email import Email, Lane, Life, Status
from postroom.store.base import Settlement
from tests.make import LEASE, SECOND

DOUBT_DELAY = 60 * SECOND


@dataclass(slots=True)
class Known:
    """One email as the store should know it."""

    email: Email
    life: Life
    wake_up_at: datetime | None = None
    token: str | None = None
    lease_until: datetime | None = None
    fenced: bool = False
    lapsed_token: str | None = None
    finished_at: datetime | None = None

    def claimable(self, now: datetime) -> bool:
        """Whether a worker may have it."""
        at = self.life.next_attempt_at
        return self.life.status in lifecycle.CLAIMABLE and at is not None and at <= now < self.life.expires_at

    def unpublished(self, now: datetime) -> bool:
        """Whether the sweep must publish it."""
        return self.wake_up_at is not None and self.wake_up_at <= now

    def expired(self, now: datetime) -> bool:
        """Whether it waits past its deadline."""
        return self.life.status in lifecycle.CLAIMABLE and self.life.expires_at <= now

    def lapsed(self, now: datetime, *, everything: bool) -> bool:
        """Whether its claim has to be ended."""
        return self.lease_until is not None and (everything or self.lease_until <= now)

    @property
    def order(self) -> tuple[int, datetime | None]:
        """By what it is served."""
        return list(Lane).index(self.email.lane), self.life.next_attempt_at

    def claim(self, token: str, now: datetime) -> None:
        """A worker takes it."""
        assert self.token is None, "two live claims"
        self.life = replace(self.life, status=Status.SENDING, attempts=self.life.attempts + 1, last_attempt_at=now)
        self.token, self.lease_until, self.fenced = token, now + LEASE, False
        self.wake_up_at = self.lapsed_token = None

    def becomes(self, life: Life, now: datetime, *, wake_up_at: datetime | None = None) -> None:
        """Another life begins; a claim on it is over."""
        assert life.status in lifecycle.MOVES[self.life.status], f"{self.life.status} became {life.status}"
        self.life = life
        self.token, self.lease_until, self.fenced = None, None, False
        waiting = life.status in lifecycle.CLAIMABLE
        self.wake_up_at = (wake_up_at or life.next_attempt_at) if waiting else None
        self.finished_at = now if life.status in lifecycle.FINAL else None

    def recover(self, now: datetime) -> None:
        """Its claim has lapsed."""
        life, token = self.life, self.token if self.fenced else None
        if self.fenced:
            life = lifecycle.lapse_after_fence(
                life,
                now=now,
                again_at=now + DOUBT_DELAY,
                worker="w",
                on_uncertain=self.email.on_uncertain,
                max_attempts=self.email.max_attempts,
            )
        else:
            life = lifecycle.lapse_before_fence(life, now=now, again_at=now, worker="w")
        self.becomes(life, now)
        self.lapsed_token = token

    def settle(self, settlement: Settlement, now: datetime) -> bool:
        """Its holder is done with it; says whether the token still held."""
        if self.token != settlement.token:
            return False
        self.becomes(settlement.life, now)
        return True

    def settle_late(self, settlement: Settlement, now: datetime) -> bool:
        """Somebody comes too late; says whether that still counts."""
        if self.lapsed_token != settlement.token:
            return False
        life = lifecycle.succeed_late(self.life, settlement.life)
        if life is None:
            return False
        self.becomes(life, now)
        self.lapsed_token = None
        return True

    def publish(self, now: datetime, again_after: timedelta) -> None:
        """The sweep publishes it."""
        if self.life.status is Status.SCHEDULED:
            self.becomes(lifecycle.release(self.life, now=now), now)
        self.wake_up_at = now + again_after
