"""An email: what a client submitted, and its life. Values only; the moves of a life are in `lifecycle`."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct, field

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Status(StrEnum):
    """Where an email stands. The moves between them are `lifecycle.MOVES`."""

    SCHEDULED = "scheduled"  # waits for the time that its sender chose
    QUEUED = "queued"  # due, waits for a worker
    SENDING = "sending"  # claimed by a worker
    RETRYING = "retrying"  # waits for its next attempt after a transient outcome
    SENT = "sent"  # the next hop took it (2xx) for at least one recipient, none is pending
    DELIVERED = "delivered"  # the receiver's side confirmed it
    BOUNCED = "bounced"  # every recipient was refused for good
    COMPLAINED = "complained"  # the recipient reported it as unwanted
    FAILED = "failed"  # Postroom stopped trying, for a stated reason
    UNCERTAIN = "uncertain"  # may have been delivered; held for a decision: sending it again might make a second copy
    CANCELED = "canceled"  # its sender called it back in time
    SUPPRESSED = "suppressed"  # every recipient is on the suppression list


class RecipientStatus(StrEnum):
    """Where one recipient stands."""

    QUEUED = "queued"  # not attempted yet
    RETRYING = "retrying"  # refused for now, attempted again
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELED = "canceled"
    SUPPRESSED = "suppressed"


PENDING = frozenset({RecipientStatus.QUEUED, RecipientStatus.RETRYING})


class Kind(StrEnum):
    """Which header names the recipient; `bcc` is named by none."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


class Lane(StrEnum):
    """Which queue carries the email; the order here is the order of service."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"


class OnUncertain(StrEnum):
    """What to do when a crash, or a relay that stays silent, leaves it open whether the relay took the email."""

    RESEND = "resend"  # at least once: try again, flagged `possible_duplicate`
    HOLD = "hold"  # at most once: wait as `uncertain` for a decision


class Address(Struct, frozen=True):
    """One mailbox: `addr` as SMTP is told it (domain in A-label form, lower case), `name` decoded, '' when absent."""

    addr: str
    name: str = ""


class Attachment(Struct, frozen=True, kw_only=True):
    """One attachment. `size` is in bytes, decoded. `content` is None in what stores return: see `Store.attachments`."""

    filename: str | None
    content_type: str
    content_id: str | None
    size: int
    content: bytes | None


class Recipient(Struct, frozen=True, kw_only=True):
    """One address of an email, with its own state; `smtp_code` and `message` are from its last attempt."""

    address: str
    kind: Kind
    status: RecipientStatus = RecipientStatus.QUEUED
    smtp_code: int | None = None
    enhanced_code: str | None = None
    message: str | None = None
    at: datetime | None = None


class Event(Struct, frozen=True, kw_only=True):
    """One line of an email's timeline. `detail` is flat and small."""

    event: str
    at: datetime
    attempt: int
    detail: Mapping[str, Json] = field(default_factory=dict)


class LastError(Struct, frozen=True, kw_only=True):
    """Why the email is not sent (yet). `kind` is one word, such as `transient`, `expired`, `poison`."""

    kind: str
    message: str
    smtp_code: int | None
    enhanced_code: str | None
    permanent: bool
    at: datetime


class Life(Struct, frozen=True, kw_only=True):
    """All of an email that changes. Times are aware, UTC, in whole milliseconds.

    `attempts` counts since the last retry by hand, crashes included; `crash_count` consecutive crashes.
    """

    status: Status
    recipients: tuple[Recipient, ...]
    scheduled_at: datetime | None = None
    next_attempt_at: datetime | None = None
    expires_at: datetime
    attempts: int = 0
    crash_count: int = 0
    last_attempt_at: datetime | None = None
    sent_at: datetime | None = None
    possible_duplicate: bool = False
    last_error: LastError | None = None
    timeline: tuple[Event, ...] = ()

    @property
    def pending(self) -> tuple[Recipient, ...]:
        """The recipients that still have to be attempted."""
        return tuple([r for r in self.recipients if r.status in PENDING])


class Email(Struct, frozen=True, kw_only=True):
    """What a client submitted, which never changes, and its `life`, which does.

    `id` is a canonical lower-case UUID, version 7, so that ids sort by acceptance. `message_id` is the Message-ID with
    angle brackets, the same on every attempt; so is the Date, the time for which it was scheduled, or `created_at`.
    `headers` are the custom ones that survived validation. `html`, `text`, `headers`, the life's timeline and
    attachment contents are left out by a listing, never by a claim (but for attachment contents, which
    `Store.attachments` returns).
    """

    id: str
    account: str
    key_id: str | None = None
    message_id: str
    created_at: datetime
    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str
    html: str | None = None
    text: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict)
    lane: Lane = Lane.NORMAL
    max_attempts: int
    on_uncertain: OnUncertain = OnUncertain.RESEND
    idempotency_key: str | None = None
    life: Life
