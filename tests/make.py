"""Builders of test data: sensible emails, claims and keys, each with what a test wants changed."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from postroom.deliver import TurnSettings
from postroom.mail import lifecycle, milliseconds
from postroom.mail.api_key import FULL_ACCESS, ApiKey
from postroom.mail.email import Address, Attachment, Email, Kind, Life, Recipient, RecipientStatus, Status
from postroom.mail.retry import RetryPolicy
from postroom.store.base import Claim, IdempotencyKey, Settlement, Store, Submission

ACCOUNT = "default"
LEASE = timedelta(seconds=30)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
_serial = count(1)


def now() -> datetime:
    """The time now in whole milliseconds; for tests that have no store to ask."""
    return milliseconds.cut(datetime.now(UTC))


def email(
    at: datetime | None = None, *, to: Iterable[str] = ("anna@example.com",), life: Life | None = None, **changes: Any
) -> Email:
    """An email accepted at that time, now by default, due at once. `changes` are members of `Email`."""
    at = at or now()
    addresses = tuple(to)
    fields: dict[str, Any] = {
        "id": email_id(at),
        "account": ACCOUNT,
        "message_id": "<1@postroom.example>",
        "created_at": at,
        "sender": Address("post@example.org", "The Post Room"),
        "to": tuple(Address(address) for address in addresses),
        "subject": "Hello",
        "text": "Hello.\n",
        "max_attempts": 25,
        "life": life or new_life(at, addresses),
    }
    return Email(**{**fields, **changes})


def email_id(at: datetime) -> str:
    """A version 7 UUID of that time; later calls for the same time sort later."""
    digits = f"{round(at.timestamp() * 1000):012x}7{0:03x}8{next(_serial):015x}"
    return str(UUID(digits))


def random_id(at: datetime) -> str:
    """A version 7 UUID of that time that no other process makes."""
    digits = f"{round(at.timestamp() * 1000):012x}7{uuid4().hex[13:16]}8{uuid4().hex[17:]}"
    return str(UUID(digits))


def new_life(at: datetime, addresses: Iterable[str] = ("anna@example.com",), **changes: Any) -> Life:
    """The life of an email that was just accepted."""
    fields: dict[str, Any] = {
        "status": Status.QUEUED,
        "recipients": tuple(Recipient(address=address, kind=Kind.TO) for address in addresses),
        "next_attempt_at": at,
        "expires_at": at + 72 * HOUR,
    }
    return Life(**{**fields, **changes})


def scheduled(at: datetime, due: datetime, **changes: Any) -> Email:
    """An email that is to be sent at a later time."""
    life = new_life(at, status=Status.SCHEDULED, scheduled_at=due, next_attempt_at=due, expires_at=due + 72 * HOUR)
    return email(at, life=life, **changes)


def attachment(content: bytes, **changes: Any) -> Attachment:
    """An attachment with this content."""
    fields = {"filename": "a.txt", "content_type": "text/plain", "content_id": None, "size": len(content)}
    return Attachment(**{**fields, "content": content, **changes})


def submission(*emails: Email, key: IdempotencyKey | None = None, answer: str = '{"id": "…"}') -> Submission:
    """One request with these emails, or with one of its own."""
    emails = emails or (email(),)
    return Submission(account=emails[0].account, emails=emails, answer=answer, idempotency=key)


def idempotency_key(expires_at: datetime, key: str = "key-1", fingerprint: str = "f1") -> IdempotencyKey:
    """An idempotency key of the endpoint `/emails`."""
    return IdempotencyKey(endpoint="/emails", key=key, fingerprint=fingerprint, expires_at=expires_at)


def api_key(key_id: str = "0123456789ab", **changes: Any) -> ApiKey:
    """An API key that may do everything."""
    fields: dict[str, Any] = {
        "id": key_id,
        "account": ACCOUNT,
        "name": "test",
        "scopes": FULL_ACCESS,
        "domains": frozenset[str](),
        "secret_hash": "0" * 64,
        "created_at": now(),
    }
    return ApiKey(**{**fields, **changes})


def retry_policy(**changes: timedelta) -> RetryPolicy:
    """A policy that waits for a minute after the first transient outcome."""
    fields = {"base": 60 * SECOND, "cap": 4 * HOUR, "route_delay": 10 * SECOND, "doubt_delay": 60 * SECOND}
    return RetryPolicy(**{**fields, **changes})


def turn_settings(**changes: Any) -> TurnSettings:
    """The constants of a turn whose claims last for `LEASE`."""
    fields: dict[str, Any] = {
        "policy": retry_policy(),
        "lease": LEASE,
        "doubt_lease": 4 * LEASE,
        "attempt_limit": 30 * LEASE,
        "stop_limit": 10 * SECOND,
        "claim_size": 100,
    }
    return TurnSettings(**{**fields, **changes})


def stored(store: Store, at: datetime, *emails: Email) -> list[Email]:
    """Stores these emails, each in a submission of its own, published for the next 15 seconds; returns them."""
    store.add([submission(e) for e in emails], now=at, wake_up_at=at + 15 * SECOND)
    return list(emails)


def one(store: Store, at: datetime | None = None, **changes: Any) -> Email:
    """Stores one email, now if no time is given, and returns it."""
    at = at or store.clock()
    [made] = stored(store, at, email(at, **changes))
    return made


def found(store: Store, email: Email) -> Email:
    """That email as it is by now."""
    email_now = store.get(email.account, email.id)
    assert email_now
    return email_now


def claimed(store: Store, at: datetime, *emails: Email, worker: str = "w1") -> list[Claim]:
    """Claims these emails, which must be due."""
    claims = store.claim([e.id for e in emails], worker=worker, now=at, lease=LEASE)
    assert len(claims) == len(emails)
    return claims


def sent(claim: Claim, at: datetime) -> Settlement:
    """The settlement of a claim whose recipients all took the email."""
    return settled(claim, Status.SENT, RecipientStatus.SENT, at=at, sent_at=at, next_attempt_at=None)


def retrying(claim: Claim, at: datetime, again_at: datetime) -> Settlement:
    """The settlement of a claim that is to be tried again."""
    return settled(claim, Status.RETRYING, RecipientStatus.RETRYING, at=at, next_attempt_at=again_at)


def failed(claim: Claim, at: datetime) -> Settlement:
    """The settlement of a claim that was given up."""
    life = lifecycle.give_up(claim.email.life, "exhausted", "gave up", now=at)
    return Settlement(email_id=claim.email.id, token=claim.token, life=life)


def settled(
    claim: Claim, status: Status, of_recipients: RecipientStatus, *, at: datetime, **changes: Any
) -> Settlement:
    """A settlement that gives the email and all its recipients these statuses."""
    life = claim.email.life
    recipients = tuple(replace(r, status=of_recipients, at=at) for r in life.recipients)
    life = lifecycle.move(life, status, recipients=recipients, **changes)
    return Settlement(email_id=claim.email.id, token=claim.token, life=lifecycle.note(life, str(status), at))
