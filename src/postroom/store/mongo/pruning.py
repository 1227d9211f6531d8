"""The sweep deletes finished emails with all that belongs to them."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from pymongo import DeleteMany, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import ConnectionFailure, PyMongoError

from postroom.store.mongo import documents, transaction
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.document import Document

_AT_FIRST = 20  # emails in one transaction; each may lead to a dozen places on the disk, and all must be done in time
_QUICK_SECONDS = 0.2  # after which twice as many follow
_BYTES = 32 * 1024 * 1024  # of attachments, in one transaction
_SECONDS = 1.0  # after which the rest is left to the next step
_LOST: Document = {"attachments": [{"size": 0}]}  # contents that are not there: the email may have had some


def prune(connection: Connection, limit: int, *, now: datetime, finished_before: datetime) -> int:
    """Deletes finished emails; one with an idempotency key stays until that expires. They go in slices: what is old has
    to be read from the disk first, and large attachments fill the server's cache until the transaction ends."""
    deleted, at_once, began, more = 0, _AT_FIRST, time.monotonic(), True
    while more and deleted < limit and time.monotonic() - began < _SECONDS:
        slice_began = time.monotonic()
        room = min(at_once, limit - deleted)
        try:
            count, more = transaction.run(connection, partial(_prune, connection, room, finished_before, now))
        except PyMongoError as error:
            if not transaction.lost_race(error) or isinstance(error, ConnectionFailure):
                raise
            return deleted  # another sweep prunes the same, or a sender retries one of them: the next step will see
        deleted += count
        if time.monotonic() - slice_began < _QUICK_SECONDS:
            at_once *= 2
    return deleted


def _prune(
    connection: Connection, limit: int, finished_before: datetime, now: datetime, session: ClientSession
) -> tuple[int, bool]:
    """Returns how many were deleted, and whether there may be more."""
    finished = {"finished_at": {"$lt": finished_before}}
    order = [("finished_at", 1)]
    old = connection.emails.find(
        finished, {"_id": 1}, sort=order, limit=limit, batch_size=limit, hint="finished", session=session
    )
    ids = [document["_id"] for document in old]
    if not ids:
        return 0, False
    shown = {"attachments.size": 1, "idempotency.expires_at": 1}
    found = connection.contents.find({"_id": {"$in": ids}}, shown, hint="_id_", session=session)
    known = {content["_id"]: content for content in found}
    contents = [known.get(email_id, {"_id": email_id, **_LOST}) for email_id in ids]
    kept = _put_off_with_key(connection, contents, finished_before, now, session)
    gone = _within([content for content in contents if content["_id"] not in kept], _BYTES)
    deleted = _delete(connection, gone, session) if gone else 0
    return deleted, len(ids) == limit or len(gone) + len(kept) < len(ids)


def _put_off_with_key(
    connection: Connection,
    contents: Iterable[Document],
    finished_before: datetime,
    now: datetime,
    session: ClientSession,
) -> Collection[str]:
    """Emails whose key has not expired come up again when it has, and are in nobody's way until then; returns their
    ids."""
    until = {d["_id"]: _member(d.get("idempotency"), "expires_at") for d in contents}
    kept = {email_id: at for email_id, at in until.items() if isinstance(at, datetime) and at > now}
    again_at = {email_id: at - (now - finished_before) for email_id, at in kept.items()}
    updates = [UpdateOne({"_id": i}, {"$set": {"finished_at": at}}, hint="_id_") for i, at in again_at.items()]
    if updates:
        connection.emails.bulk_write(updates, session=session)
    return kept


def _delete(connection: Connection, contents: Sequence[Document], session: ClientSession) -> int:
    """Deletes these with their emails and attachments; returns how many."""
    ids = {"_id": {"$in": [content["_id"] for content in contents]}}
    attached = [content["_id"] for content in contents if "attachments" in content]
    if attached:
        deletions = [DeleteMany(documents.attachments_of(email_id), hint="_id_") for email_id in attached]
        connection.attachments.bulk_write(deletions, session=session)
    connection.contents.delete_many(ids, session=session)
    return connection.emails.delete_many(ids, session=session).deleted_count


def _within(contents: Sequence[Document], most_bytes: int) -> list[Document]:
    """The first of them with no more attachments than that together; one at least."""
    taken: list[Document] = []
    size = 0
    for content in contents:
        size += _attached_bytes(content)
        if taken and size > most_bytes:
            break
        taken.append(content)
    return taken


def _attached_bytes(content: Document) -> int:
    """The size of all attachments; what is damaged counts as nothing, for it must go, too."""
    sizes = [_member(attachment, "size") for attachment in content.get("attachments", ())]
    return sum([size for size in sizes if isinstance(size, int)])


def _member(fields: Any, name: str) -> Any:
    return fields.get(name) if isinstance(fields, Mapping) else None
