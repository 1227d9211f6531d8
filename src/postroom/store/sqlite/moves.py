"""What senders ask of a stored email: cancel, reschedule, retry. Claims and these exclude each other."""

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from postroom.errors import EmailNotFound
from postroom.mail import lifecycle
from postroom.mail.email import Email, Life
from postroom.store.sqlite import reading, upkeep
from postroom.store.sqlite.operation import Operation
from postroom.store.sqlite.rows import Row


def cancel(account: str, email_id: str, *, now: datetime) -> Operation[Email]:
    """Cancels an email that waits."""
    return _move(account, email_id, partial(lifecycle.cancel, now=now), now)


def reschedule(account: str, email_id: str, at: datetime, *, now: datetime) -> Operation[Email]:
    """Moves a scheduled email to another time."""
    return _move(account, email_id, partial(lifecycle.reschedule, at=at, now=now), now)


def retry(account: str, email_id: str, *, now: datetime, max_age: timedelta, wake_up_at: datetime) -> Operation[Email]:
    """Queues an email anew."""
    return _move(account, email_id, partial(lifecycle.retry, now=now, max_age=max_age), now, wake_up_at)


def _move(
    account: str, email_id: str, step: Callable[[Life], Life], now: datetime, wake_up_at: datetime | None = None
) -> Operation[Email]:
    """Takes one step of the email's life, or raises what the step raises; returns the email as it is then."""

    def operation(connection: sqlite3.Connection) -> Email:
        columns = connection.execute(reading.WHOLE, (email_id, account)).fetchone()
        if columns is None:
            raise EmailNotFound(email_id)
        email = reading.known_email_of(columns)
        email = replace(email, life=step(email.life))
        upkeep.write_life(connection, Row._make(columns[:-3]), email.life, now=now, wake_up_at=wake_up_at)
        return email

    return operation
