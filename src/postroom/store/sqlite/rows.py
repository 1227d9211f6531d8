"""Emails as rows: the columns, and the way there and back."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

import orjson

from postroom.mail.email import (
    Address,
    Attachment,
    Email,
    Event,
    Kind,
    Lane,
    LastError,
    Life,
    OnUncertain,
    Recipient,
    RecipientStatus,
    Status,
)
from postroom.mail.lifecycle import CLAIMABLE, FINAL

Value: TypeAlias = str | int | bytes | None

LANES = tuple(Lane)
_RANK = {lane: rank for rank, lane in enumerate(LANES)}
_STATUS = {status.value: status for status in Status}  # an enum's own look-up takes ten times as long
_RECIPIENT_STATUS = {status.value: status for status in RecipientStatus}
_KIND = {kind.value: kind for kind in Kind}
_ON_UNCERTAIN = {choice.value: choice for choice in OnUncertain}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

EMAIL_COLUMNS = (
    "id",
    "account",
    "lane",
    "max_attempts",
    "on_uncertain",
    "created_at",
    "key_id",
    "idempotency_key",
    "message_id",
    "subject",
    "subject_folded",
    "submitted",
)
LIFE_COLUMNS = (
    "status",
    "due_at",
    "wake_up_at",
    "finished_at",
    "expires_at",
    "attempts",
    "crash_count",
    "scheduled_at",
    "next_attempt_at",
    "last_attempt_at",
    "sent_at",
    "possible_duplicate",
    "recipients",
    "last_error",
    "timeline",
)


class Row(NamedTuple):
    """A row of `emails`, as `SELECTED` brings it."""

    n: int
    id: str
    account: str
    status: str
    lane: int
    due_at: int | None
    lease_token: str | None
    lease_worker: str
    fenced: int
    expires_at: int
    attempts: int
    crash_count: int
    scheduled_at: int | None
    next_attempt_at: int | None
    last_attempt_at: int | None
    sent_at: int | None
    possible_duplicate: int
    max_attempts: int
    on_uncertain: str
    created_at: int
    key_id: str | None
    idempotency_key: str | None
    message_id: str
    subject: str
    submitted: str
    recipients: str
    last_error: str | None
    timeline: str


SELECTED = ", ".join(f"emails.{column}" for column in Row._fields)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """The aware UTC time of these milliseconds since 1970."""
    return _EPOCH + timedelta(0, milliseconds // 1000, milliseconds % 1000 * 1000)


def to_json(value: object) -> str:
    """Dataclasses become objects, times RFC 3339 strings."""
    return orjson.dumps(value).decode()


def email_values(email: Email) -> tuple[Value, ...]:
    """Values for `EMAIL_COLUMNS`: what never changes, but for bodies and attachment contents."""
    return (
        email.id,
        email.account,
        _RANK[email.lane],
        email.max_attempts,
        email.on_uncertain.value,
        to_ms(email.created_at),
        email.key_id,
        email.idempotency_key,
        email.message_id,
        email.subject,
        email.subject.casefold(),
        to_json(_submitted(email)),
    )


def body_values(email: Email) -> tuple[Value, ...]:
    """Values for the table `bodies`, but for its number."""
    return email.html, email.text, to_json(email.headers)


def life_values(life: Life, *, now: datetime, wake_up_at: datetime | None = None) -> tuple[Value, ...]:
    """Values for `LIFE_COLUMNS`. While the email waits, the sweep publishes it at `wake_up_at`, by default when due."""
    due_at = _ms_or_none(life.next_attempt_at) if life.status in CLAIMABLE else None
    woken_at = due_at if due_at is None or wake_up_at is None else to_ms(wake_up_at)
    return (
        life.status.value,
        due_at,
        woken_at,
        to_ms(now) if life.status in FINAL else None,
        to_ms(life.expires_at),
        life.attempts,
        life.crash_count,
        _ms_or_none(life.scheduled_at),
        _ms_or_none(life.next_attempt_at),
        _ms_or_none(life.last_attempt_at),
        _ms_or_none(life.sent_at),
        life.possible_duplicate,
        to_json(life.recipients),
        to_json(life.last_error) if life.last_error else None,
        to_json(life.timeline),
    )


def terms(addresses: Iterable[str], tags: Iterable[tuple[str, str]]) -> set[str]:
    """What an email is looked up by: each recipient, and each tag with and without its value."""
    found = {address_term(address) for address in addresses}
    for name, value in tags:
        found |= {f"#{name}", f"#{name}:{value}"}
    return found


def address_term(address: str) -> str:
    """The term of a recipient's address; letter case does not matter."""
    return f"@{address.casefold()}"


def whole_email_of(columns: tuple[Any, ...]) -> Email:
    """The email of a row of `emails` followed by html, text and headers of its row of `bodies`."""
    return email_of(Row._make(columns[:-3]), columns[-3:])


def email_of(row: Row, body: tuple[Any, ...] | None = None) -> Email:
    """The email of a row, without its body where that was left out."""
    submitted: dict[str, Any] = orjson.loads(row.submitted)
    html, text, headers = body or (None, None, "[]")
    return Email(
        id=row.id,
        account=row.account,
        key_id=row.key_id,
        message_id=row.message_id,
        created_at=from_ms(row.created_at),
        sender=Address(**submitted["sender"]),
        to=_addresses(submitted["to"]),
        cc=_addresses(submitted["cc"]),
        bcc=_addresses(submitted["bcc"]),
        reply_to=_addresses(submitted["reply_to"]),
        subject=row.subject,
        html=html,
        text=text,
        headers=_pairs(orjson.loads(headers)),
        attachments=tuple([Attachment(**a, content=None) for a in submitted["attachments"]]),
        tags=_pairs(submitted["tags"]),
        metadata=submitted["metadata"],
        lane=LANES[row.lane],
        max_attempts=row.max_attempts,
        on_uncertain=_ON_UNCERTAIN[row.on_uncertain],
        idempotency_key=row.idempotency_key,
        life=life_of(row),
    )


def life_of(row: Row) -> Life:
    """The life of a row of `emails`."""
    return Life(
        status=_STATUS[row.status],
        recipients=tuple([_recipient(r) for r in orjson.loads(row.recipients)]),
        scheduled_at=_time_or_none(row.scheduled_at),
        next_attempt_at=_time_or_none(row.next_attempt_at),
        expires_at=from_ms(row.expires_at),
        attempts=row.attempts,
        crash_count=row.crash_count,
        last_attempt_at=_time_or_none(row.last_attempt_at),
        sent_at=_time_or_none(row.sent_at),
        possible_duplicate=bool(row.possible_duplicate),
        last_error=_last_error(orjson.loads(row.last_error)) if row.last_error else None,
        timeline=tuple([_event(e) for e in orjson.loads(row.timeline)]),
    )


def terms_of(row: Row) -> set[str]:
    """The terms that an email was stored under, from its row."""
    addresses = [r["address"] for r in orjson.loads(row.recipients)]
    return terms(addresses, _pairs(orjson.loads(row.submitted)["tags"]))


def _submitted(email: Email) -> dict[str, object]:
    return {
        "sender": email.sender,
        "to": email.to,
        "cc": email.cc,
        "bcc": email.bcc,
        "reply_to": email.reply_to,
        "tags": email.tags,
        "metadata": dict(email.metadata),
        "attachments": [
            {"filename": a.filename, "content_type": a.content_type, "content_id": a.content_id, "size": a.size}
            for a in email.attachments
        ],
    }


def _addresses(listed: list[dict[str, str]]) -> tuple[Address, ...]:
    return tuple([Address(**address) for address in listed]) if listed else ()


def _pairs(listed: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple([(name, value) for name, value in listed]) if listed else ()


def _recipient(fields: dict[str, Any]) -> Recipient:
    fields["kind"] = _KIND[fields["kind"]]
    fields["status"] = _RECIPIENT_STATUS[fields["status"]]
    fields["at"] = datetime.fromisoformat(fields["at"]) if fields["at"] else None
    return Recipient(**fields)


def _event(fields: dict[str, Any]) -> Event:
    fields["at"] = datetime.fromisoformat(fields["at"])
    return Event(**fields)


def _last_error(fields: dict[str, Any]) -> LastError:
    fields["at"] = datetime.fromisoformat(fields["at"])
    return LastError(**fields)


def _ms_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)


def _time_or_none(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_ms(milliseconds)
