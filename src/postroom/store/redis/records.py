"""Emails as Redis keeps them: the fields of their hash, and the way there and back. Lua never looks into the JSON."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from postroom.mail.email import Address, Attachment, Email, Lane, Life, OnUncertain, Status
from postroom.mail.lifecycle import CLAIMABLE
from postroom.store.redis import lives, times
from postroom.store.redis.talk import Argument

_SUBJECT_CHARS = 64  # as much of a subject as its index holds


class Record(NamedTuple):
    """The hash of one email, as `SUMMARY` or `WHOLE` brings it: bytes, or None where a field is missing."""

    id: bytes
    account: bytes
    lane: bytes
    status: bytes
    next_attempt_at: bytes
    expires_at: bytes
    attempts: bytes | None
    last_attempt_at: bytes | None
    life: bytes
    submitted: bytes
    version: bytes
    worker: bytes | None
    fenced: bytes | None
    bodies: bytes | None = None


WHOLE = Record._fields[1:]
SUMMARY = WHOLE[:-1]


def submitted_arguments(email: Email, *, now: datetime, wake_up_at: datetime) -> list[Argument]:
    """What `add.lua` wants to know of an email. One that is due counts as published until `wake_up_at`."""
    life = email.life
    due = _due(life)
    immediate = isinstance(due, int) and due <= times.to_ms(now)
    wake = times.to_ms(wake_up_at) if immediate else due
    found = sorted(terms([r.address for r in life.recipients], email.tags))
    return [
        email.id,
        email.lane.value,
        life.status.value,
        times.or_nothing(life.next_attempt_at),
        wake,
        times.to_ms(life.expires_at),
        life.attempts,
        times.or_nothing(life.last_attempt_at),
        lives.to_json(life),
        _submitted_json(email),
        orjson.dumps((email.html, email.text, email.headers)),
        subject_beginning(email.subject),
        len(found),
        *found,
    ]


def life_arguments(
    email_id: str | bytes, proof: str | bytes, life: Life, wake_up_at: datetime | None = None
) -> list[Argument]:
    """What `live.lua` wants to know. While the email waits, the sweep publishes it at `wake_up_at`, or when due."""
    due = _due(life)
    return [
        email_id,
        proof,
        life.status.value,
        times.or_nothing(life.next_attempt_at),
        due if wake_up_at is None or due == "" else times.to_ms(wake_up_at),
        times.to_ms(life.expires_at),
        life.attempts,
        times.or_nothing(life.last_attempt_at),
        lives.to_json(life),
    ]


def email_of(record: Record) -> Email:
    """The email of a record, without its bodies and headers where those were left out."""
    submitted: dict[str, Any] = orjson.loads(record.submitted)
    html, text, headers = orjson.loads(record.bodies) if record.bodies else (None, None, ())
    return Email(
        id=record.id.decode(),
        account=record.account.decode(),
        key_id=submitted["key_id"],
        message_id=submitted["message_id"],
        created_at=times.from_ms(submitted["created_at"]),
        sender=Address(*submitted["sender"]),
        to=_addresses(submitted["to"]),
        cc=_addresses(submitted["cc"]),
        bcc=_addresses(submitted["bcc"]),
        reply_to=_addresses(submitted["reply_to"]),
        subject=submitted["subject"],
        html=html,
        text=text,
        headers=_pairs(headers),
        attachments=tuple([Attachment(**a, content=None) for a in submitted["attachments"]]),
        tags=_pairs(submitted["tags"]),
        metadata=submitted["metadata"],
        lane=Lane(record.lane.decode()),
        max_attempts=submitted["max_attempts"],
        on_uncertain=OnUncertain(submitted["on_uncertain"]),
        idempotency_key=submitted["idempotency_key"],
        life=life_of(record),
    )


def life_of(record: Record) -> Life:
    """The life of a record."""
    return lives.from_json(
        record.life,
        status=Status(record.status.decode()),
        next_attempt_at=times.or_none(record.next_attempt_at),
        expires_at=times.from_ms(int(record.expires_at)),
        attempts=int(record.attempts or 0),
        last_attempt_at=times.or_none(record.last_attempt_at),
    )


def terms_of(record: Record) -> list[str]:
    """The terms that a record was stored under."""
    return sorted(terms(lives.addresses(record.life), _pairs(orjson.loads(record.submitted)["tags"])))


def subject_of(record: Record) -> str:
    """What the subject of a record is looked up by."""
    return subject_beginning(orjson.loads(record.submitted)["subject"])


def on_uncertain_of(record: Record) -> OnUncertain:
    """What the sender of a record wants when its outcome is in doubt."""
    return OnUncertain(orjson.loads(record.submitted)["on_uncertain"])


def terms(addresses: Iterable[str], tags: Iterable[tuple[str, str]]) -> set[str]:
    """What an email is looked up by: each recipient, and each tag with and without its value."""
    found = {address_term(address) for address in addresses}
    for name, value in tags:
        found |= {f"#{name}", f"#{name}:{value}"}
    return found


def address_term(address: str) -> str:
    """The term of a recipient's address; letter case does not matter."""
    return f"@{address.casefold()}"


def subject_beginning(subject: str) -> str:
    """What a subject is looked up by."""
    return subject.casefold()[:_SUBJECT_CHARS]


def _due(life: Life) -> int | str:
    if life.status not in CLAIMABLE:
        return ""
    if life.next_attempt_at is None:
        raise ValueError(f"an email that is {life.status} needs the time of its next attempt")
    return times.to_ms(life.next_attempt_at)


def _submitted_json(email: Email) -> bytes:
    return orjson.dumps(
        {
            "key_id": email.key_id,
            "message_id": email.message_id,
            "created_at": times.to_ms(email.created_at),
            "sender": (email.sender.addr, email.sender.name),
            "to": [(a.addr, a.name) for a in email.to],
            "cc": [(a.addr, a.name) for a in email.cc],
            "bcc": [(a.addr, a.name) for a in email.bcc],
            "reply_to": [(a.addr, a.name) for a in email.reply_to],
            "subject": email.subject,
            "attachments": [
                {"filename": a.filename, "content_type": a.content_type, "content_id": a.content_id, "size": a.size}
                for a in email.attachments
            ],
            "tags": email.tags,
            "metadata": dict(email.metadata),
            "max_attempts": email.max_attempts,
            "on_uncertain": email.on_uncertain,
            "idempotency_key": email.idempotency_key,
        }
    )


def _addresses(listed: list[list[str]]) -> tuple[Address, ...]:
    return tuple([Address(*address) for address in listed])


def _pairs(listed: Sequence[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple([(name, value) for name, value in listed])
