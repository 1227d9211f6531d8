"""What senders ask of a stored email: cancel, reschedule, retry. Claims and these exclude each other."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from postroom.errors import EmailNotFound
from postroom.mail.email import Email, Life
from postroom.store.sqlite import reading, upkeep
from postroom.store.sqlite.operation import Operation
from postroom.store.sqlite.rows import Row


def make(
    account: str, email_id: str, step: Callable[[Life], Life], *, now: datetime, wake_up_at: datetime | None = None
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
