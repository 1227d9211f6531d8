"""Emails and keys in the words of the API."""

from collections.abc import Iterable

from postroom import status
from postroom.api.response_schemas import (
    AcceptedEmail,
    ApiKeyOut,
    AttachmentOut,
    EmailHead,
    EmailInList,
    EmailOut,
    EventOut,
    LastErrorOut,
    Pair,
    RecipientOut,
)
from postroom.mail import address
from postroom.mail.api_key import FULL_ACCESS, ApiKey
from postroom.mail.email import Address, Attachment, Email, Event, LastError, Recipient


def accepted(email: Email) -> AcceptedEmail:
    """The answer to a submission."""
    return {
        "object": "email",
        "id": email.id,
        "status": email.life.status,
        "created_at": email.created_at,
        "scheduled_at": email.life.scheduled_at,
    }


def in_list(email: Email) -> EmailInList:
    """An email in a listing."""
    return {**_head(email)}


def whole(email: Email) -> EmailOut:
    """An email and its life."""
    life = email.life
    return {
        "object": "email",
        **_head(email),
        "html": email.html,
        "text": email.text,
        "tags": _pairs(email.tags),
        "headers": _pairs(email.headers),
        "attachments": [_attachment(one) for one in email.attachments],
        "metadata": dict(email.metadata),
        "priority": email.lane.value,
        "idempotency_key": email.idempotency_key,
        "on_uncertain": email.on_uncertain.value,
        "expires_at": life.expires_at,
        "last_attempt_at": life.last_attempt_at,
        "last_error": _last_error(life.last_error) if life.last_error else None,
        "recipients": [_recipient(one) for one in life.recipients],
        "timeline": timeline(life.timeline),
    }


def timeline(events: Iterable[Event]) -> list[EventOut]:
    """Events, oldest first."""
    return [{"event": e.event, "at": e.at, "attempt": e.attempt, "detail": dict(e.detail)} for e in events]


def key(one: ApiKey) -> ApiKeyOut:
    """A key, without its secret."""
    return {
        "id": one.id,
        "name": one.name,
        "permission": "full_access" if one.scopes == FULL_ACCESS else "sending_access",
        "domains": sorted(one.domains),
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "revoked_at": one.revoked_at,
    }


def _head(email: Email) -> EmailHead:
    life = email.life
    return {
        "id": email.id,
        "message_id": email.message_id,
        "from": address.render(email.sender),
        "to": _addresses(email.to),
        "cc": _addresses(email.cc),
        "bcc": _addresses(email.bcc),
        "reply_to": _addresses(email.reply_to),
        "subject": email.subject,
        "created_at": email.created_at,
        "scheduled_at": life.scheduled_at,
        "last_event": status.LAST_EVENT[life.status],  # type: ignore[typeddict-item]  # a test compares the two sets
        "status": life.status,
        "attempts": life.attempts,
        "max_attempts": email.max_attempts,
        "sent_at": life.sent_at,
        "next_attempt_at": life.next_attempt_at,
        "possible_duplicate": life.possible_duplicate,
    }


def _addresses(addresses: Iterable[Address]) -> list[str]:
    return [address.render(one) for one in addresses]


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[Pair]:
    return [{"name": name, "value": value} for name, value in pairs]


def _attachment(one: Attachment) -> AttachmentOut:
    return {
        "filename": one.filename,
        "content_type": one.content_type,
        "content_disposition": "inline" if one.content_id else "attachment",
        "content_id": one.content_id,
        "size": one.size,
    }


def _recipient(one: Recipient) -> RecipientOut:
    return {
        "address": one.address,
        "kind": one.kind.value,
        "status": one.status,
        "smtp_code": one.smtp_code,
        "enhanced_code": one.enhanced_code,
        "message": one.message,
        "at": one.at,
    }


def _last_error(one: LastError) -> LastErrorOut:
    return {
        "kind": one.kind,
        "message": one.message,
        "smtp_code": one.smtp_code,
        "enhanced_code": one.enhanced_code,
        "permanent": one.permanent,
        "at": one.at,
    }
