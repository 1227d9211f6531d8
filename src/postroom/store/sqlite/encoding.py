"""From emails to the values of rows."""

from datetime import datetime

from postroom.mail import lifecycle, milliseconds
from postroom.mail.email import Email, Life
from postroom.mail.lifecycle import FINAL
from postroom.store.sqlite.rows import LANES, Value, to_json

_PLACE = {lane: place for place, lane in enumerate(LANES)}


def email_values(email: Email) -> tuple[Value, ...]:
    """Values for `EMAIL_COLUMNS`: what never changes, but for bodies and attachment contents."""
    return (
        email.id,
        email.account,
        _PLACE[email.lane],
        email.max_attempts,
        email.on_uncertain.value,
        milliseconds.of(email.created_at),
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
    due_at = milliseconds.of_or_none(lifecycle.due_at(life))
    woken_at = due_at if due_at is None or wake_up_at is None else milliseconds.of(wake_up_at)
    return (
        life.status.value,
        due_at,
        woken_at,
        milliseconds.of(now) if life.status in FINAL else None,
        milliseconds.of(life.expires_at),
        life.attempts,
        life.crash_count,
        milliseconds.of_or_none(life.scheduled_at),
        milliseconds.of_or_none(life.next_attempt_at),
        milliseconds.of_or_none(life.last_attempt_at),
        milliseconds.of_or_none(life.sent_at),
        life.possible_duplicate,
        to_json(life.recipients),
        to_json(life.last_error) if life.last_error else None,
        to_json(life.timeline),
    )


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
