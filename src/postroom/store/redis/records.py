"""Emails as Redis keeps them: their fields and their claim, and the way there and back. Lua never looks into the JSON,
which is all arrays, without the names of their members, for all of it stays in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar

import orjson

from postroom.mail import lifecycle, milliseconds
from postroom.mail.email import Address, Attachment, Email, Lane, Life, OnUncertain, Status
from postroom.store import search_terms, unreadable
from postroom.store.redis import lives
from postroom.store.redis.session import Argument

SUBMITTED, BODIES, STATES, LIVES = "postroom:submitted", "postroom:bodies", "postroom:states", "postroom:lives"

_SUBJECT, _TAGS = 8, 10  # their places in `submitted_json`
_SUBJECT_CHARS = 64  # as much of a subject as its term holds
_STATUS = {status.value.encode(): status for status in Status}  # quicker than to call the enum
_LANE = {lane.value.encode(): lane for lane in Lane}
_ON_UNCERTAIN = {choice.value: choice for choice in OnUncertain}


Value = TypeVar("Value")


class Record(NamedTuple):
    """One email as it is read: bytes, or None where something is missing."""

    id: bytes
    claim: bytes | None
    state: bytes
    life: bytes
    submitted: bytes
    bodies: bytes | None = None


class State(NamedTuple):
    """What Lua must know of an email."""

    status: bytes
    since: bytes
    expires_at: bytes
    size: bytes
    lane: bytes
    account: bytes


class Held(NamedTuple):
    """The claim in a record."""

    token: bytes
    lease_until: bytes
    fenced: bytes
    claimed_at: bytes
    worker: bytes
    state: bytes


def account_of(state: bytes | None) -> str | None:
    """Whose email this is the state of; None if there is no such email."""
    return State(*state.split(b"\0", 5)).account.decode() if state else None


def status_of(state: bytes) -> Status:
    """The status in a state; that of a claimed email is what it was before."""
    status, _, _, _, _, _ = state.split(b"\0", 5)
    return _STATUS[status]


def since(state: bytes) -> datetime:
    """Since when the email has that status."""
    return milliseconds.to_time(int(State(*state.split(b"\0", 5)).since))


def bodies_json(email: Email) -> bytes:
    """What may be large and never changes."""
    return orjson.dumps((email.html, email.text, email.headers))


def life_arguments(
    email_id: str | bytes, proof: str | bytes, life: Life, wake_up_at: datetime | None = None
) -> list[Argument]:
    """What `live.lua` wants to know. While the email waits, the sweep publishes it at `wake_up_at`, or when due."""
    due = due_at(life)
    return [
        email_id,
        proof,
        life.status.value,
        due,
        due if wake_up_at is None or due == "" else milliseconds.of(wake_up_at),
        milliseconds.of(life.expires_at),
        lives.to_json(life),
    ]


def email_of(record: Record, *, listed: bool = False) -> Email:
    """The email of a record, without its bodies and headers where those were left out; `listed`, also without its
    timeline."""
    key_id, message_id, created_at, sender, to, cc, bcc, reply_to, subject, *rest = orjson.loads(record.submitted)
    attachments, tags, metadata, max_attempts, on_uncertain, idempotency_key = rest
    html, text, headers = orjson.loads(record.bodies) if record.bodies else (None, None, ())
    _, _, _, _, lane, account = record.state.split(b"\0", 5)
    return Email(
        id=record.id.decode(),
        account=account.decode(),
        key_id=key_id,
        message_id=message_id,
        created_at=milliseconds.to_time(created_at),
        sender=Address(*sender),
        to=_addresses(to),
        cc=_addresses(cc) if cc else (),
        bcc=_addresses(bcc) if bcc else (),
        reply_to=_addresses(reply_to) if reply_to else (),
        subject=subject,
        html=html,
        text=text,
        headers=_pairs(headers) if headers else (),
        attachments=tuple([_attachment(*fields) for fields in attachments]) if attachments else (),
        tags=_pairs(tags) if tags else (),
        metadata=metadata,
        lane=_LANE[lane],
        max_attempts=max_attempts,
        on_uncertain=_ON_UNCERTAIN[on_uncertain],
        idempotency_key=idempotency_key,
        life=life_of(record, listed=listed),
    )


def readable(found: Iterable[Record], reader: Callable[[Record], Value]) -> Iterator[tuple[Record, Value]]:
    """Each record with what the reader makes of it; one that cannot be read is reported and left out."""
    return unreadable.readable(found, reader, lambda record: record.id.decode())


def known_email_of(record: Record) -> Email:
    """The email that somebody asks for. Raises `Unreadable` when it cannot be read."""
    return unreadable.read(record.id.decode(), partial(email_of, record))


def life_of(record: Record, *, listed: bool = False) -> Life:
    """The life of a record. While it is claimed, it is `sending`, and this attempt counts."""
    if record.claim is None:
        return lives.from_json(record.life, status_of(record.state), listed=listed)
    claimed_at = milliseconds.to_time(int(record.claim.split(b"\0", 4)[3]))
    return lives.from_json(record.life, Status.SENDING, claimed_at=claimed_at, listed=listed)


def held(claim: bytes) -> Held:
    """What the claim in a record says."""
    return Held(*claim.split(b"\0", len(Held._fields) - 1))


def known_account_of(record: Record) -> str | None:
    """Whose email it is that somebody asks for; None if there is no such email. Raises `Unreadable` when it cannot be
    read."""
    return unreadable.read(record.id.decode(), lambda: account_of(record.state))


def proof_of(record: Record) -> bytes:
    """What must not have changed for a step that was decided on this record: its claim, or its life if it has none."""
    return record.life if record.claim is None else record.claim


def terms(email: Email) -> list[str]:
    """What an email is looked up by: each recipient, each tag with and without its value, and its subject."""
    return _terms([recipient.address for recipient in email.life.recipients], email.tags, email.subject)


def terms_of(record: Record) -> list[str]:
    """The same, from a record of which nothing else needs to be read."""
    recipients, *_ = orjson.loads(record.life)
    submitted = orjson.loads(record.submitted)
    return _terms([address for address, *_ in recipients], _pairs(submitted[_TAGS]), submitted[_SUBJECT])


def subject_term(subject: str) -> str:
    """The term of a subject, or of its beginning; letter case does not matter."""
    return f"={subject.casefold()[:_SUBJECT_CHARS]}"


def due_at(life: Life) -> int | str:
    """When an email that waits is due; '' for one that does not."""
    due = lifecycle.due_at(life)
    return "" if due is None else milliseconds.of(due)


def submitted_json(email: Email) -> bytes:
    """What never changes, in the order in which `email_of` takes it apart."""
    return orjson.dumps(
        (
            email.key_id,
            email.message_id,
            milliseconds.of(email.created_at),
            (email.sender.addr, email.sender.name),
            [(a.addr, a.name) for a in email.to],
            [(a.addr, a.name) for a in email.cc],
            [(a.addr, a.name) for a in email.bcc],
            [(a.addr, a.name) for a in email.reply_to],
            email.subject,
            [(a.filename, a.content_type, a.content_id, a.size) for a in email.attachments],
            email.tags,
            dict(email.metadata),
            email.max_attempts,
            email.on_uncertain,
            email.idempotency_key,
        )
    )


def _terms(addresses: Iterable[str], tags: Iterable[tuple[str, str]], subject: str) -> list[str]:
    return [*search_terms.of_email(addresses, tags), subject_term(subject)]


def _addresses(listed: list[list[str]]) -> tuple[Address, ...]:
    return tuple([Address(*address) for address in listed])


def _pairs(listed: Sequence[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple([(name, value) for name, value in listed])


def _attachment(filename: str | None, content_type: str, content_id: str | None, size: int) -> Attachment:
    return Attachment(filename=filename, content_type=content_type, content_id=content_id, size=size, content=None)
