"""What changes of an email and Lua need not know, as JSON. Members that repeat are arrays, for all stays in memory."""

from datetime import datetime
from typing import Any

import orjson

from postroom.mail.email import Event, Kind, LastError, Life, Recipient, RecipientStatus, Status
from postroom.store.redis import times


def to_json(life: Life) -> bytes:
    """All of a life but what has a field of its own."""
    error = life.last_error
    return orjson.dumps(
        {
            "recipients": [
                (r.address, r.kind, r.status, r.smtp_code, r.enhanced_code, r.message, times.ms_or_none(r.at))
                for r in life.recipients
            ],
            "scheduled_at": times.ms_or_none(life.scheduled_at),
            "crash_count": life.crash_count,
            "sent_at": times.ms_or_none(life.sent_at),
            "possible_duplicate": life.possible_duplicate,
            "last_error": error
            and (
                error.kind,
                error.message,
                error.smtp_code,
                error.enhanced_code,
                error.permanent,
                times.to_ms(error.at),
            ),
            "timeline": [(e.event, times.to_ms(e.at), e.attempt, dict(e.detail)) for e in life.timeline],
        }
    )


def from_json(
    packed: bytes,
    *,
    status: Status,
    next_attempt_at: datetime | None,
    expires_at: datetime,
    attempts: int,
    last_attempt_at: datetime | None,
) -> Life:
    """The life, from its JSON and the fields beside it."""
    members: dict[str, Any] = orjson.loads(packed)
    error = members["last_error"]
    return Life(
        status=status,
        recipients=tuple([_recipient(*fields) for fields in members["recipients"]]),
        scheduled_at=times.or_none(members["scheduled_at"]),
        next_attempt_at=next_attempt_at,
        expires_at=expires_at,
        attempts=attempts,
        crash_count=members["crash_count"],
        last_attempt_at=last_attempt_at,
        sent_at=times.or_none(members["sent_at"]),
        possible_duplicate=members["possible_duplicate"],
        last_error=_last_error(*error) if error else None,
        timeline=tuple([_event(*fields) for fields in members["timeline"]]),
    )


def addresses(packed: bytes) -> list[str]:
    """The recipients' addresses."""
    return [address for address, *_ in orjson.loads(packed)["recipients"]]


def _recipient(
    address: str,
    kind: str,
    status: str,
    smtp_code: int | None,
    enhanced_code: str | None,
    message: str | None,
    at: int | None,
) -> Recipient:
    return Recipient(
        address=address,
        kind=Kind(kind),
        status=RecipientStatus(status),
        smtp_code=smtp_code,
        enhanced_code=enhanced_code,
        message=message,
        at=times.or_none(at),
    )


def _event(event: str, at: int, attempt: int, detail: dict[str, Any]) -> Event:
    return Event(event=event, at=times.from_ms(at), attempt=attempt, detail=detail)


def _last_error(
    kind: str, message: str, smtp_code: int | None, enhanced_code: str | None, permanent: bool, at: int
) -> LastError:
    return LastError(
        kind=kind,
        message=message,
        smtp_code=smtp_code,
        enhanced_code=enhanced_code,
        permanent=permanent,
        at=times.from_ms(at),
    )
