"""A draft: one email as a client wrote it, checked but not accepted yet. Accepting gives it an id and a life."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct, field

from postroom.mail import email_ids
from postroom.mail.address import domain_of
from postroom.mail.email import (
    Address,
    Attachment,
    Email,
    Event,
    Json,
    Kind,
    Lane,
    Life,
    OnUncertain,
    Recipient,
    Status,
)

TAG_TEXT = "[A-Za-z0-9_-]{1,256}"  # regular expressions: of a tag's name and of its value,
METADATA_NAME = "[A-Za-z0-9_-]{1,64}"  # and of each name in the metadata, at whatever depth
MOST_METADATA = 50  # members


class Draft(Struct, frozen=True, kw_only=True):
    """Every member checked: addresses parsed, headers cleaned, attachments decoded, times in UTC milliseconds."""

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
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    max_attempts: int | None = None
    on_uncertain: OnUncertain = OnUncertain.RESEND


def accept(
    draft: Draft,
    *,
    account: str,
    key_id: str | None,
    idempotency_key: str | None,
    max_attempts: int,
    max_age: timedelta,
    now: datetime,
) -> Email:
    """Gives a draft its id, its Message-ID (RFC 5322 §3.6.4) and its life; `max_attempts` and `max_age` are what it
    gets when it does not say so itself. Nothing is stored yet."""
    email_id, created_at = email_ids.new()
    scheduled = draft.scheduled_at if draft.scheduled_at and draft.scheduled_at > now else None
    starts_at = scheduled or now
    status = Status.SCHEDULED if scheduled else Status.QUEUED
    life = Life(
        status=status,
        recipients=recipients(draft),
        scheduled_at=scheduled,
        next_attempt_at=starts_at,
        expires_at=draft.expires_at or starts_at + max_age,
        timeline=(Event(event=status.value, at=now, attempt=0),),
    )
    return Email(
        id=email_id,
        account=account,
        key_id=key_id,
        message_id=f"<{email_id}@{domain_of(draft.sender.addr)}>",
        created_at=created_at,
        sender=draft.sender,
        to=draft.to,
        cc=draft.cc,
        bcc=draft.bcc,
        reply_to=draft.reply_to,
        subject=draft.subject,
        html=draft.html,
        text=draft.text,
        headers=draft.headers,
        attachments=draft.attachments,
        tags=draft.tags,
        metadata=draft.metadata,
        lane=draft.lane,
        max_attempts=draft.max_attempts or max_attempts,
        on_uncertain=draft.on_uncertain,
        idempotency_key=idempotency_key,
        life=life,
    )


def recipients(draft: Draft) -> tuple[Recipient, ...]:
    """Everybody the email goes to, each address once: the first header that names it counts."""
    named = ((Kind.TO, draft.to), (Kind.CC, draft.cc), (Kind.BCC, draft.bcc))
    kinds: dict[str, Kind] = {}
    for kind, addresses in named:
        for address in addresses:
            kinds.setdefault(address.addr, kind)
    return tuple([Recipient(address=addr, kind=kind) for addr, kind in kinds.items()])
