"""What senders ask of a stored email: cancel, reschedule, retry. Claims and these exclude each other."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from postroom.errors import EmailNotFound, StoreUnavailable
from postroom.mail.email import Email, Life
from postroom.store.mongo import documents, faults, lives, reading
from postroom.store.mongo.connection import Connection

_TRIES = 10  # each time somebody else was faster


def make(
    connection: Connection,
    account: str,
    email_id: str,
    step: Callable[[Life], Life],
    *,
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
        life = step(email.life)
        update = lives.new_life(life, now=now, wake_up_at=wake_up_at)
        if connection.emails.update_one(lives.unchanged(document), update, hint="_id_").matched_count:
            return replace(email, life=life)
    raise StoreUnavailable(f"email {email_id} is changed by others all the time: try again")
