"""Large attachments are stored before the transaction that accepts their emails, because the server keeps all that a
transaction writes in its cache until it ends, and refuses what does not fit (code 388).

An upload is a document that says that contents are there without an email. The transaction deletes it; so does the
sweep where no transaction came, with the contents. Whoever is second finds it gone.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from pymongo.client_session import ClientSession
from pymongo.errors import ConnectionFailure, PyMongoError

from postroom.errors import StoreError, StoreUnavailable
from postroom.mail.email import Email
from postroom.store.mongo import documents, faults, transaction
from postroom.store.mongo.connection import Connection

_IN_A_TRANSACTION = 8 * 1024 * 1024  # bytes of attachments
_ABANDONED_AFTER = timedelta(minutes=1)  # no call takes so long, and one that was frozen is told so
_CLEARED_AT_ONCE = 10
_CLEARING_SECONDS = 1.0  # after which the rest is left to the next time


def too_large(emails: Collection[Email]) -> list[Email]:
    """Those with attachments, if all of these together are too much for a transaction."""
    attached = [email for email in emails if email.attachments]
    size = sum(attachment.size for email in attached for attachment in email.attachments)
    return attached if size > _IN_A_TRANSACTION else []


def put(connection: Connection, emails: Sequence[Email], *, now: datetime) -> None:
    """Stores the contents of their attachments, durably."""
    connection.uploads.insert_many([{"_id": email.id, "at": now} for email in emails])
    for email in emails:
        try:
            connection.attachments.insert_many(documents.of_attachments(email))
        except PyMongoError as error:
            if faults.is_duplicate(error):  # what is there belongs to an email, and must not be cleared away
                connection.uploads.delete_one({"_id": email.id})
            raise


def take_back(connection: Connection, emails: Iterable[Email]) -> None:
    """Deletes what was stored for a transaction that has failed, as far as it can be done now, so that each of these
    may be stored anew. Does nothing to an email that is stored after all."""
    with suppress(PyMongoError, StoreError):
        for email in emails:
            transaction.run(connection, partial(_clear, connection, email.id))


def end(connection: Connection, ids: Collection[str], session: ClientSession) -> None:
    """Within the transaction that stores their emails: these uploads are abandoned no more."""
    if connection.uploads.delete_many({"_id": {"$in": list(ids)}}, session=session).deleted_count < len(ids):
        raise StoreUnavailable("storing the attachments took too long, and they were cleared away: try again")


def clear(connection: Connection, now: datetime) -> bool:
    """Deletes contents whose emails never came, some at a time; returns whether there may be more."""
    old = connection.uploads.find({"at": {"$lt": now - _ABANDONED_AFTER}}, {"_id": 1}, hint="by_age")
    found, began = list(old.limit(_CLEARED_AT_ONCE)), time.monotonic()
    for upload in found:
        if time.monotonic() - began > _CLEARING_SECONDS:
            return True
        try:
            transaction.run(connection, partial(_clear, connection, upload["_id"]))
        except PyMongoError as error:
            if not transaction.lost_race(error) or isinstance(error, ConnectionFailure):
                raise
    return len(found) == _CLEARED_AT_ONCE


def _clear(connection: Connection, email_id: str, session: ClientSession) -> None:
    if connection.uploads.delete_one({"_id": email_id}, session=session).deleted_count:
        connection.attachments.delete_many(documents.attachments_of(email_id), session=session)
