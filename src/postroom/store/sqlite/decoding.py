"""From rows to emails."""

from datetime import datetime
from operator import index
from typing import Any

import orjson

from postroom.mail import milliseconds
from postroom.mail.email import (
    Address,
    Attachment,
    Email,
    Event,
    Kind,
    LastError,
    Life,
    OnUncertain,
    Recipient,
    RecipientStatus,
    Status,
)
from postroom.store import search_terms
from postroom.store.sqlite.rows import LANES, Row

_STATUS = {status.value: status for status in Status}  # an enum's own look-up takes ten times as long
_RECIPIENT_STATUS = {status.value: status for status in RecipientStatus}
_KIND = {kind.value: kind for kind in Kind}
_ON_UNCERTAIN = {choice.value: choice for choice in OnUncertain}


def whole_email_of(columns: tuple[Any, ...]) -> Email:
    """The email of a row of `emails` followed by html, text and headers of its row of `bodies`."""
    return email_of(Row._make(columns[:-3]), columns[-3:])


def email_of(row: Row, body: tuple[Any, ...] | None = None) -> Email:
    """The email of a row; as a listing has it where the body was left out."""
    submitted: dict[str, Any] = orjson.loads(row.submitted)
    html, text, headers = body or (None, None, "[]")
    return Email(
        id=row.id,
        account=row.account,
        key_id=row.key_id,
        message_id=row.message_id,
        created_at=milliseconds.to_time(row.created_at),
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
        max_attempts=index(row.max_attempts),
        on_uncertain=_ON_UNCERTAIN[row.on_uncertain],
        idempotency_key=row.idempotency_key,
        life=life_of(row, listed=body is None),
    )


def life_of(row: Row, *, listed: bool = False) -> Life:
    """The life of a row of `emails`; `listed`, without its timeline."""
    return Life(
        status=_STATUS[row.status],
        recipients=tuple([_recipient(r) for r in orjson.loads(row.recipients)]),
        scheduled_at=milliseconds.to_time_or_none(row.scheduled_at),
        next_attempt_at=milliseconds.to_time_or_none(row.next_attempt_at),
        expires_at=milliseconds.to_time(row.expires_at),
        attempts=index(row.attempts),  # a column takes anything, and these are counted with elsewhere
        crash_count=index(row.crash_count),
        last_attempt_at=milliseconds.to_time_or_none(row.last_attempt_at),
        sent_at=milliseconds.to_time_or_none(row.sent_at),
        possible_duplicate=bool(row.possible_duplicate),
        last_error=_last_error(orjson.loads(row.last_error)) if row.last_error else None,
        timeline=() if listed else tuple([_event(e) for e in orjson.loads(row.timeline)]),
    )


def terms_of(row: Row) -> set[str]:
    """The terms that an email was stored under, from its row."""
    addresses = [r["address"] for r in orjson.loads(row.recipients)]
    return search_terms.of_email(addresses, _pairs(orjson.loads(row.submitted)["tags"]))


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
