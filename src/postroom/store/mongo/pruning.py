"""Deleting finished emails with all that belongs to them, as far as one step of the sweep has time."""

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial

from pymongo import DeleteMany, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import ConnectionFailure, PyMongoError

from postroom.store.mongo import documents, transaction, uploads
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.document import Document

_MOST_BYTES = 32 * 1024 * 1024  # of attachments, in one transaction
_MOST_SECONDS = 1.0  # after which the rest is left to the next step


def prune(connection: Connection, limit: int, *, now: datetime, finished_before: datetime) -> int:
    """Deletes finished emails with all that belongs to them. One with an idempotency key stays until that expires. What
    has large attachments goes in slices, for the server keeps all of a transaction in its cache."""
    uploads.clear(connection, now)
    deleted, began, more = 0, time.monotonic(), True
    while more and deleted < limit and time.monotonic() - began < _MOST_SECONDS:
        room = limit - deleted
        try:
            count, more = transaction.run(connection, partial(_prune_some, connection, room, finished_before, now))
        except PyMongoError as error:
            if not transaction.lost_race(error) or isinstance(error, ConnectionFailure):
                raise
            return deleted  # another sweep prunes the same, or a sender retries one of them: the next step will see
        deleted += count
    return deleted


def _prune_some(
    connection: Connection, limit: int, finished_before: datetime, now: datetime, session: ClientSession
) -> tuple[int, bool]:
    """Returns how many were deleted, and whether some that were found were not."""
    finished = {"finished_at": {"$lt": finished_before}}
    oldest = connection.emails.find(
        finished, {"_id": 1}, sort=[("finished_at", 1)], limit=limit, batch_size=limit, hint="finished", session=session
    )
    old = [document["_id"] for document in oldest]
    if not old:
        return 0, False
    theirs, shown = {"_id": {"$in": old}}, {"attachments.size": 1, "idempotency.expires_at": 1}
    contents = list(connection.contents.find(theirs, shown, hint="_id_", session=session))
    kept = _put_off_with_key(connection, contents, finished_before, now, session)
    gone = _within([content for content in contents if content["_id"] not in kept], _MOST_BYTES)
    ids = {"_id": {"$in": [content["_id"] for content in gone]}}
    attachments = [DeleteMany(documents.attachments_of(d["_id"]), hint="_id_") for d in gone if d.get("attachments")]
    if attachments:
        connection.attachments.bulk_write(attachments, session=session)
    connection.contents.delete_many(ids, session=session)
    return connection.emails.delete_many(ids, session=session).deleted_count, len(gone) < len(contents)


def _put_off_with_key(
    connection: Connection,
    contents: Sequence[Document],
    finished_before: datetime,
    now: datetime,
    session: ClientSession,
) -> Collection[str]:
    """Emails whose key has not expired come up again when it has, and are in nobody's way until then; returns their
    ids."""
    until = {d["_id"]: d.get("idempotency", {}).get("expires_at") for d in contents}
    kept = {email_id: at for email_id, at in until.items() if isinstance(at, datetime) and at > now}
    again_at = {email_id: at - (now - finished_before) for email_id, at in kept.items()}
    updates = [UpdateOne({"_id": i}, {"$set": {"finished_at": at}}, hint="_id_") for i, at in again_at.items()]
    if updates:
        connection.emails.bulk_write(updates, session=session)
    return kept


def _within(contents: Sequence[Document], most_bytes: int) -> list[Document]:
    """The first of them with no more attachments than that together; one at least."""
    taken: list[Document] = []
    size = 0
    for content in contents:
        size += sum(attachment["size"] for attachment in content.get("attachments", ()))
        if taken and size > most_bytes:
            break
        taken.append(content)
    return taken
