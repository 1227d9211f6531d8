"""What senders ask of a stored email: cancel, reschedule, retry. Claims and these exclude each other."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from postroom.errors import EmailNotFound, StoreUnavailable
from postroom.mail import lifecycle, milliseconds
from postroom.mail.email import Email, Life
from postroom.store.redis import reading, records, scripts
from postroom.store.redis.session import Session

TRIES = 20


def cancel(session: Session, account: str, email_id: str, *, now: datetime) -> Email:
    """Cancels an email that waits."""
    return _move(session, account, email_id, partial(lifecycle.cancel, now=now), now)


def reschedule(session: Session, account: str, email_id: str, at: datetime, *, now: datetime) -> Email:
    """Moves a scheduled email to another time."""
    return _move(session, account, email_id, partial(lifecycle.reschedule, at=at, now=now), now)


def retry(
    session: Session, account: str, email_id: str, *, now: datetime, max_age: timedelta, wake_up_at: datetime
) -> Email:
    """Queues an email anew."""
    return _move(session, account, email_id, partial(lifecycle.retry, now=now, max_age=max_age), now, wake_up_at)


def _move(
    session: Session,
    account: str,
    email_id: str,
    step: Callable[[Life], Life],
    now: datetime,
    wake_up_at: datetime | None = None,
) -> Email:
    """Takes one step of the email's life, or raises what the step raises; returns the email as it is then.

    When somebody else has changed the email between reading and writing, the step is asked again.
    """
    for _ in range(TRIES):
        record = reading.record(session, account, email_id)
        if record is None:
            raise EmailNotFound(email_id)
        email = records.known_email_of(record)
        life = step(email.life)
        arguments = records.life_arguments(email_id, records.proof_of(record), life, wake_up_at)
        if session.run(scripts.LIVE, milliseconds.of(now), "unchanged", *arguments, durable=True):
            return replace(email, life=life)
    raise StoreUnavailable(f"email {email_id} is changed by others all the time: try again")
