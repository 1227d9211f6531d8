"""Reading single emails and counting them."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from typing import TypeVar

from pymongo.client_session import ClientSession

from postroom.mail.email import Email, Lane, Status
from postroom.store import unreadable
from postroom.store.base import AccountAndId
from postroom.store.mongo import documents, transaction
from postroom.store.mongo.connection import QUICK, Connection
from postroom.store.mongo.document import Document

Value = TypeVar("Value")

_SMALL = 20_000  # emails, counted anew each time
_COUNTED_PER_SECOND = 50_000  # on average, beyond that
_FOR_US = {"search": 0, "idempotency": 0}  # but for what only the server looks at
_ANY_TIME = {"$gt": datetime(1970, 1, 1, tzinfo=UTC)}


def get(connection: Connection, account: str, email_id: str) -> Email | None:
    """The whole email but for attachment contents."""
    document = find(connection, account, email_id)
    content = connection.contents.find_one({"_id": email_id}) if document else None
    return documents.known_email_of(document, content) if document and content else None  # it may just have been pruned


def get_many(connection: Connection, wanted: Collection[AccountAndId]) -> Mapping[AccountAndId, Email]:
    """The whole emails of these that are there."""
    which, at_most = {"_id": {"$in": sorted({email_id for _, email_id in wanted})}}, len(wanted)
    listed = connection.emails.find(which, hint="_id_", batch_size=at_most + 1)
    found = {(document["account"], document["_id"]): document for document in listed}
    contents = {content["_id"]: content for content in connection.contents.find(which, _FOR_US, batch_size=at_most + 1)}
    return {
        key: documents.known_email_of(found[key], contents[key[1]])
        for key in wanted
        if key in found and key[1] in contents
    }


def find(
    connection: Connection, account: str, email_id: str, shown: Mapping[str, int] | None = None
) -> Document | None:
    """The main document of an account's email. The filter is the bare id, for which the server needs no plan."""
    document = connection.emails.find_one({"_id": email_id}, shown)
    return document if document and document.get("account") == account else None


def with_contents(connection: Connection, found: Sequence[Document]) -> Iterator[Email]:
    """The emails of these main documents, but for those that cannot be read."""
    ids = [document["_id"] for document in found]
    if not ids:
        return
    which, at_most = {"_id": {"$in": ids}}, len(ids)
    contents = {d["_id"]: d for d in connection.contents.find(which, _FOR_US, batch_size=at_most + 1)}
    for _, email in readable(found, lambda d: documents.email_of(d, contents.get(d["_id"], {}))):
        yield email


def readable(found: Iterable[Document], read: Callable[[Document], Value]) -> Iterator[tuple[Document, Value]]:
    """Each document with what is read from it; one that cannot be read is reported and left out."""
    return unreadable.readable(
        found, lambda document: documents.read(document, partial(read, document)), itemgetter("_id")
    )


def attachments(connection: Connection, email_id: str) -> list[bytes]:
    """The contents of an email's attachments, in order. Raises `Unreadable`."""
    chunks = list(connection.attachments.find(documents.attachments_of(email_id), sort=[("_id", 1)]))
    return unreadable.read(email_id, lambda: _joined(chunks))


def _joined(chunks: Sequence[Document]) -> list[bytes]:
    contents: list[list[bytes]] = []
    for chunk in chunks:
        if chunk["position"] == len(contents):
            contents.append([])
        contents[-1].append(chunk["content"])
    return [b"".join(parts) for parts in contents]


def counts(connection: Connection) -> Mapping[Status, int]:
    """How many emails stand in each status, none left out, at one moment: a transaction sees no email move."""
    return transaction.run(
        connection,
        lambda session: {status: _count_of(connection, status, session) for status in Status},
        write_concern=QUICK,
    )


class Backlog:
    """How many emails wait or are claimed. Counting looks at index keys only, about a million in a second; a great
    backlog is therefore counted more rarely, so that asking each second stays cheap."""

    def __init__(self) -> None:
        self._count = 0
        self._good_until = 0.0

    def count(self, connection: Connection) -> int:
        """The count now, or, beyond twenty thousand, one that is some seconds old."""
        if time.monotonic() >= self._good_until:
            waiting = sum(count(connection, {"lane": lane.value, "due_at": _ANY_TIME}, hint="due") for lane in Lane)
            self._count = waiting + count(connection, {"status": "sending"}, hint="listed")
            pause = self._count / _COUNTED_PER_SECOND if self._count > _SMALL else 0.0
            self._good_until = time.monotonic() + pause
        return self._count


def waiting_since(connection: Connection, now: datetime) -> Mapping[Lane, datetime]:
    """By lane, since when the email waits that is due longest."""
    since: dict[Lane, datetime] = {}
    for lane in Lane:
        due = {"lane": lane.value, "due_at": {**_ANY_TIME, "$lte": now}}
        if found := connection.emails.find_one(due, {"due_at": 1}, sort=[("due_at", 1)], hint="due"):
            since[lane] = found["due_at"]
    return since


def count(connection: Connection, which: Document, *, hint: str, collection: str = "emails", limit: int = 0) -> int:
    """How many the filter finds; counting ends at `limit`. Unlike `count_documents` it reads index keys only."""
    counted: int = connection.database.command("count", collection, query=which, hint=hint, limit=limit)["n"]
    return counted


def _count_of(connection: Connection, status: Status, session: ClientSession) -> int:
    pipeline: list[Document] = [{"$match": {"status": status.value}}, {"$count": "count"}]
    found = list(connection.emails.aggregate(pipeline, hint="listed", session=session))
    return int(found[0]["count"]) if found else 0
