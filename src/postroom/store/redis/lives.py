"""What changes of an email, as JSON. Its status stands beside it, because Lua must know that."""

from datetime import datetime

import orjson

from postroom.mail import milliseconds
from postroom.mail.email import Event, Kind, LastError, Life, Recipient, RecipientStatus, Status

_KIND = {kind.value: kind for kind in Kind}  # quicker than to call the enum
_STATUS = {status.value: status for status in RecipientStatus}


def to_json(life: Life) -> bytes:
    """All of a life but its status."""
    error = life.last_error
    return orjson.dumps(
        (
            [
                (
                    r.address,
                    r.kind,
                    r.status,
                    r.smtp_code,
                    r.enhanced_code,
                    r.message,
                    milliseconds.of_or_none(r.at),
                )
                for r in life.recipients
            ],
            milliseconds.of_or_none(life.scheduled_at),
            milliseconds.of_or_none(life.next_attempt_at),
            milliseconds.of(life.expires_at),
            life.attempts,
            life.crash_count,
            milliseconds.of_or_none(life.last_attempt_at),
            milliseconds.of_or_none(life.sent_at),
            life.possible_duplicate,
            error
            and (
                error.kind,
                error.message,
                error.smtp_code,
                error.enhanced_code,
                error.permanent,
                milliseconds.of(error.at),
            ),
            [(e.event, milliseconds.of(e.at), e.attempt, dict(e.detail)) for e in life.timeline],
        )
    )


def from_json(packed: bytes, status: Status, *, claimed_at: datetime | None = None, listed: bool = False) -> Life:
    """The life, from its JSON and its status; with the attempt that began at `claimed_at`, which is not in it yet;
    `listed`, without its timeline."""
    recipients, scheduled_at, next_attempt_at, expires_at, attempts, crash_count, *rest = orjson.loads(packed)
    last_attempt_at, sent_at, possible_duplicate, error, timeline = rest
    return Life(
        status=status,
        recipients=tuple(
            [
                Recipient(
                    address=address,
                    kind=_KIND[kind],
                    status=_STATUS[state],
                    smtp_code=smtp_code,
                    enhanced_code=enhanced_code,
                    message=message,
                    at=milliseconds.to_time_or_none(at),
                )
                for address, kind, state, smtp_code, enhanced_code, message, at in recipients
            ]
        ),
        scheduled_at=milliseconds.to_time_or_none(scheduled_at),
        next_attempt_at=milliseconds.to_time_or_none(next_attempt_at),
        expires_at=milliseconds.to_time(expires_at),
        attempts=attempts if claimed_at is None else attempts + 1,
        crash_count=crash_count,
        last_attempt_at=claimed_at or milliseconds.to_time_or_none(last_attempt_at),
        sent_at=milliseconds.to_time_or_none(sent_at),
        possible_duplicate=possible_duplicate,
        last_error=_last_error(*error) if error else None,
        timeline=()
        if listed
        else tuple(
            [
                Event(event=event, at=milliseconds.to_time(at), attempt=attempt, detail=detail)
                for event, at, attempt, detail in timeline
            ]
        ),
    )


def _last_error(
    kind: str, message: str, smtp_code: int | None, enhanced_code: str | None, permanent: bool, at: int
) -> LastError:
    return LastError(
        kind=kind,
        message=message,
        smtp_code=smtp_code,
        enhanced_code=enhanced_code,
        permanent=permanent,
        at=milliseconds.to_time(at),
    )
