"""The sweep's writes: publish what is due, recover lapsed claims, fail what is too old, delete what is done.

What a new life depends on is read first; it is written only if the document's revision is still the one that was read.
"""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from pymongo import DeleteMany, UpdateMany, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import PyMongoError

from postroom.mail import lifecycle
from postroom.mail.email import Lane, Life, OnUncertain, Status
from postroom.store.mongo import documents, faults, lives, reading, transaction
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.documents import SCHEMA
from postroom.store.mongo.lives import Document

_SHOWN = {"status": 1, "lane": 1, "due_at": 1}
_FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)


def due(here: Connection, limit: int, *, now: datetime, wake_up_again_at: datetime) -> Mapping[Lane, list[str]]:
    """Takes what the sweep shall publish now."""
    unpublished = {"lane": {"$in": [lane.value for lane in Lane]}, "wake_up_at": {"$lte": now}, "due_at": {"$lte": now}}
    with faults.asking(here.where):
        found = _first(here, limit, unpublished, [("lane", -1), ("wake_up_at", 1)], "unpublished", _SHOWN)
    taken = _take(here, found, now, wake_up_again_at) if found else set()
    by_lane: dict[Lane, list[str]] = {}
    for document in sorted(found, key=lambda d: (d["due_at"], d["_id"])):
        if document["_id"] in taken:
            by_lane.setdefault(Lane(document["lane"]), []).append(document["_id"])
    return by_lane


def recover(here: Connection, limit: int, *, now: datetime, doubt_delay: timedelta, everything: bool) -> int:
    """Ends lapsed claims, or all. A fenced one leaves its token, in case its worker comes back."""
    lapsed = {"lease.until": {"$lte": _FOR_EVER if everything else now}, "schema": {"$lte": SCHEMA}}
    with faults.asking(here.where):
        found = _first(here, limit, lapsed, [("lease.until", 1)], "claimed")

    def update(document: Document) -> Document:
        lease = document["lease"]
        last_claim = {"token": lease["token"], "end": "lapsed"} if lease["fenced"] else None
        return lives.new_life(_after_lapse(document, now, doubt_delay), now=now, last_claim=last_claim)

    return _rewrite(here, found, update)


def expire(here: Connection, limit: int, *, now: datetime) -> int:
    """Fails what has waited past its deadline."""
    expired = {"expires_at": {"$lte": now}, "due_at": {"$exists": True}, "schema": {"$lte": SCHEMA}}
    with faults.asking(here.where):
        found = _first(here, limit, expired, [("expires_at", 1)], "expiring")
    return _rewrite(here, found, lambda d: lives.new_life(lifecycle.expire(lives.life_of(d), now=now), now=now))


def prune(here: Connection, limit: int, *, now: datetime, finished_before: datetime) -> int:
    """Deletes finished emails with all that belongs to them, and expired idempotency keys."""
    try:
        pruned = transaction.run(here, lambda session: _prune(here, limit, finished_before, session))
    except PyMongoError as error:
        if not transaction.lost_race(error):
            raise
        pruned = 0  # another sweep prunes the same, or a sender retries one of them: the next step will see
    expired = {"expires_at": {"$lte": now}}
    keys = [d["_id"] for d in here.submissions.find(expired, {"_id": 1}, sort=[("expires_at", 1)], limit=limit or 1)]
    if keys:
        here.submissions.delete_many({"_id": {"$in": keys}, **expired}, hint="_id_")
    return pruned


def _first(
    here: Connection,
    limit: int,
    which: Document,
    order: list[tuple[str, int]],
    index: str,
    shown: Mapping[str, int] | None = None,
    session: ClientSession | None = None,
) -> list[Document]:
    """What the filter finds first, in one answer. To MongoDB itself a limit of 0 would mean all."""
    if limit < 1:
        return []
    found = here.emails.find(which, shown, sort=order, limit=limit, batch_size=limit, hint=index, session=session)
    return list(found)


def _take(here: Connection, found: Sequence[Document], now: datetime, again_at: datetime) -> set[str]:
    """Moves the wake-ups of those that nobody else has taken meanwhile; returns their ids."""
    mark = uuid.uuid4().hex
    ids = [document["_id"] for document in found]
    waiting = [document["_id"] for document in found if document["status"] != Status.SCHEDULED]
    still = {"_id": {"$in": waiting}, "wake_up_at": {"$lte": now}, "due_at": {"$lte": now}}
    change = {"$set": {"wake_up_at": again_at, "wake_up_mark": mark}, "$inc": {"revision": 1}}
    updates: list[UpdateMany | UpdateOne] = [UpdateMany(still, change, hint="_id_")]
    updates += _releases(here, set(ids).difference(waiting), now, again_at, mark)
    if here.emails_quickly.bulk_write(updates, ordered=False).matched_count == len(ids):
        return set(ids)
    return {d["_id"] for d in here.emails.find({"_id": {"$in": ids}, "wake_up_mark": mark}, {"_id": 1}, hint="_id_")}


def _releases(here: Connection, ids: Collection[str], now: datetime, again_at: datetime, mark: str) -> list[UpdateOne]:
    """Updates by which scheduled emails that have come due become queued, unless they were rescheduled meanwhile."""
    if not ids:
        return []
    still = {"_id": {"$in": list(ids)}, "status": "scheduled", "due_at": {"$lte": now}}
    with faults.asking(here.where):
        found = list(here.emails.find(still, hint="_id_"))
    return [
        _unless_changed(
            document, lives.new_life(lifecycle.release(life, now=now), now=now, wake_up_at=again_at, wake_up_mark=mark)
        )
        for document, life in reading.readable(found, lives.life_of)
    ]


def _rewrite(here: Connection, found: Iterable[Document], update: Callable[[Document], Document]) -> int:
    """Gives each document its update, unless somebody else has changed it meanwhile; returns how many were given."""
    updates = [_unless_changed(document, change) for document, change in reading.readable(found, update)]
    return here.emails.bulk_write(updates, ordered=False).matched_count if updates else 0


def _unless_changed(document: Document, update: Document) -> UpdateOne:
    return UpdateOne({"_id": document["_id"], "revision": document["revision"]}, update, hint="_id_")


def _after_lapse(document: Document, now: datetime, doubt_delay: timedelta) -> Life:
    life, lease = lives.life_of(document), document["lease"]
    if not lease["fenced"]:
        return lifecycle.lapse_before_fence(life, now=now, again_at=now, worker=lease["worker"])
    return lifecycle.lapse_after_fence(
        life,
        now=now,
        again_at=now + doubt_delay,
        worker=lease["worker"],
        on_uncertain=OnUncertain(document["on_uncertain"]),
    )


def _prune(here: Connection, limit: int, finished_before: datetime, session: ClientSession) -> int:
    finished = {"finished_at": {"$lt": finished_before}}
    old = _first(here, limit, finished, [("finished_at", 1)], "finished", {"attachments.size": 1}, session)
    if not old:
        return 0
    ids = {"_id": {"$in": [document["_id"] for document in old]}}
    contents = [DeleteMany(documents.contents_of(d["_id"]), hint="_id_") for d in old if d.get("attachments")]
    if contents:
        here.attachments.bulk_write(contents, session=session)
    here.bodies.delete_many(ids, session=session)
    return here.emails.delete_many(ids, session=session).deleted_count
