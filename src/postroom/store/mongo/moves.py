"""What senders ask of a stored email: cancel, reschedule, retry. Claims and these exclude each other."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from postroom.errors import EmailNotFound, StoreUnavailable
from postroom.mail import lifecycle
from postroom.mail.email import Email, Life
from postroom.store.mongo import documents, faults, lives, reading
from postroom.store.mongo.connection import Connection

_TRIES = 10  # each time somebody else was faster


def cancel(connection: Connection, account: str, email_id: str, *, now: datetime) -> Email:
    """Cancels an email that waits."""
    return _move(connection, account, email_id, partial(lifecycle.cancel, now=now), now)


def reschedule(connection: Connection, account: str, email_id: str, at: datetime, *, now: datetime) -> Email:
    """Moves a scheduled email to another time."""
    return _move(connection, account, email_id, partial(lifecycle.reschedule, at=at, now=now), now)


def retry(
    connection: Connection, account: str, email_id: str, *, now: datetime, max_age: timedelta, wake_up_at: datetime
) -> Email:
    """Queues an email anew."""
    return _move(connection, account, email_id, partial(lifecycle.retry, now=now, max_age=max_age), now, wake_up_at)


def _move(
    connection: Connection,
    account: str,
    email_id: str,
    step: Callable[[Life], Life],
    now: datetime,
    wake_up_at: datetime | None = None,
) -> Email:
    """Takes one step of the email's life, or raises what the step raises; returns the email as it is then."""
    for _ in range(_TRIES):
        with faults.asking(connection.where):
            document = reading.find(connection, account, email_id)
            content = connection.contents.find_one({"_id": email_id}) if document else None
            if document is None or content is None:
                raise EmailNotFound(email_id)
            email = documents.known_email_of(document, content)
            unchanged = documents.read(document, partial(lives.unchanged, document))
        life = step(email.life)
        update = lives.new_life(life, now=now, wake_up_at=wake_up_at)
        if connection.emails.update_one(unchanged, update, hint="_id_").matched_count:
            return replace(email, life=life)
    raise StoreUnavailable(f"email {email_id} is changed by others all the time: try again")
