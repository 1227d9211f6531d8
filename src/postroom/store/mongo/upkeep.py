"""The sweep's writes: publish what is due, recover lapsed claims, fail what is too old. How it deletes: see `pruning`.

What a new life depends on is read first; it is written only if the document's revision is still the one that was read.
"""

import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from operator import itemgetter
from typing import Any

from pymongo import UpdateMany, UpdateOne

from postroom.mail import lifecycle
from postroom.mail.email import Lane, OnUncertain, Status
from postroom.store import unreadable
from postroom.store.mongo import documents, faults, leases, lives, reading
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.document import SCHEMA, Document
from postroom.store.mongo.leases import Lease

_ROUNDS = 50  # of looking at leases; busy workers leave as many behind each second
_BARRED_FOR = timedelta(days=1)  # a worker that froze before its lease was granted will have ended by then


def due(
    connection: Connection,
    limit: int,
    *,
    now: datetime,
    wake_up_again_at: datetime,
    published_until: datetime | None = None,
) -> Mapping[Lane, list[str]]:
    """Takes what the sweep shall publish now."""
    if limit < 1:  # which MongoDB would take for all
        return {}
    until = published_until or now
    lanes = {"$in": [lane.value for lane in Lane]}
    unpublished = {"lane": lanes, "wake_up_at": {"$lte": until}, "due_at": {"$lte": now}}
    shown = {"status": 1, "lane": 1, "due_at": 1, "expires_at": 1}
    order = [("lane", -1), ("wake_up_at", 1)]
    with faults.asking(connection.where):
        found = list(
            connection.emails.find(unpublished, shown, sort=order, limit=limit, batch_size=limit, hint="unpublished")
        )
    expired = [document for document in found if _is_expired(document, now)]
    in_time = [document for document in found if not _is_expired(document, now)]
    if expired:
        lives.put_off_expired(connection.emails_quickly, [document["_id"] for document in expired], now=now)
    taken = _take(connection, in_time, now, until, wake_up_again_at) if in_time else set()
    by_lane: dict[Lane, list[str]] = {Lane(document["lane"]): [] for document in expired}
    for document in sorted(in_time, key=lambda d: (d["due_at"], d["_id"])):
        if document["_id"] in taken:
            by_lane.setdefault(Lane(document["lane"]), []).append(document["_id"])
    return by_lane


def recover(
    connection: Connection, limit: int, *, now: datetime, doubt_delay: timedelta, everything: bool = False
) -> int:
    """Ends lapsed claims, or all. Now and then it also looks for claims whose lease is not there."""
    if time.monotonic() - connection.lost_leases_looked_for_at >= connection.lost_seconds:
        leases.bar_missing(connection, now)
        connection.lost_leases_looked_for_at = time.monotonic()
    count = 0
    for _ in range(_ROUNDS):
        if count >= limit:
            return count
        with faults.asking(connection.where):
            found, seen = leases.to_look_at(connection, limit - count, None if everything else now)
        barred = _barred(connection, found, limit - count, now, everything)
        freed = _free(connection, barred, now, doubt_delay)
        _forget(connection, barred, now)
        count += freed
        if not seen or (everything and barred and not freed):  # what cannot be read is among all again and again
            break
    return count


def _barred(
    connection: Connection, found: Sequence[Lease], room: int, now: datetime, everything: bool
) -> Mapping[str, Lease]:
    """Bars the workers from what has lapsed, durably; returns these leases by their tokens. Then their emails are to be
    given other lives, and then these are to be forgotten. Whoever does so again, after a crash or beside another sweep,
    finds the emails that still name the lease, or none."""
    lapsed: list[Lease] = []
    for lease in found:
        gone = dict([(i, hold) for i, hold in lease.held.items() if everything or hold.until <= now][:room])
        room -= len(gone)
        if gone or lease.lapsed:
            held = {i: hold for i, hold in lease.held.items() if i not in gone}
            lapsed.append(replace(lease, held=held, lapsed={**lease.lapsed, **gone}))
        elif lease.held and room > 0:  # its emails were fenced since; it must not stand before others until they lapse
            leases.change(connection.leases_quickly, lease)
    primary = connection.primary()
    ways = [connection.leases_quickly] * (len(lapsed) - 1) + [connection.leases]  # the last takes those before it along
    changed = [leases.change(way, lease, again_at=now) for lease, way in zip(lapsed, ways, strict=False)]
    connection.check_primary(primary)  # another one need not know of those
    return {lease.token: lease for lease in changed if lease}


def _free(connection: Connection, barred: Mapping[str, Lease], now: datetime, doubt_delay: timedelta) -> int:
    """Gives other lives to the emails whose claims have lapsed; returns how many."""
    found = _still_naming(connection, barred)
    most = _most_attempts(connection, [d["_id"] for d in found if barred[d["lease"]].lapsed[d["_id"]].fenced])
    freed = reading.readable(
        found,
        lambda d: _unless_changed(d, _after_lapse(d, barred[d["lease"]], now, doubt_delay, most)),
    )
    return _write(connection, [update for _, update in freed])


def _most_attempts(connection: Connection, ids: Sequence[str]) -> Mapping[str, Any]:
    """How many attempts each of these emails may have, as it stands with their contents."""
    if not ids:
        return {}
    found = connection.contents.find({"_id": {"$in": ids}}, {"max_attempts": 1}, batch_size=len(ids) + 1)
    return {content["_id"]: content.get("max_attempts") for content in found}


def _forget(connection: Connection, barred: Mapping[str, Lease], now: datetime) -> None:
    """Ends these leases, but for emails that still name them: those could not be read, and are tried again later."""
    left = {document["_id"] for document in _still_naming(connection, barred, {"lease": 1})}
    for lease in barred.values():
        unread = {email_id: hold for email_id, hold in lease.lapsed.items() if email_id in left}
        if lease.worker == leases.UNKNOWN and not unread:
            leases.change(connection.leases_quickly, lease, again_at=now + _BARRED_FOR)
        else:
            leases.change(connection.leases_quickly, replace(lease, lapsed=unread), again_at=now + unreadable.PAUSE)


def _still_naming(
    connection: Connection, barred: Mapping[str, Lease], shown: Mapping[str, int] | None = None
) -> list[Document]:
    """The emails that have lapsed in one of the leases and still name it."""
    if not barred:
        return []
    ids = [email_id for lease in barred.values() for email_id in lease.lapsed]
    naming = {"_id": {"$in": ids}, "lease": {"$in": list(barred)}}
    found = connection.emails.find(naming, shown, hint="_id_", batch_size=len(ids) + 1)
    return [document for document in found if document["_id"] in barred[document["lease"]].lapsed]


def expire(connection: Connection, limit: int, *, now: datetime) -> int:
    """Fails what has waited past its deadline."""
    if limit < 1:
        return 0
    expired = {"expires_at": {"$lte": now}, "due_at": {"$exists": True}, "schema": {"$lte": SCHEMA}}

    def failed(document: Document) -> UpdateOne:
        life = documents.read(document, lambda: lifecycle.expire(lives.life_of(document), now=now))
        return _unless_changed(document, lives.new_life(life, now=now))

    most = limit + unreadable.FURTHER + len(connection.passed_over)
    by_deadline = [("expires_at", 1)]
    with (
        faults.asking(connection.where),
        connection.emails.find(expired, sort=by_deadline, limit=most, batch_size=limit, hint="expiring") as found,
    ):
        read = connection.passed_over.readable(found, failed, itemgetter("_id"), now=now)
        updates = [update for _, update in islice(read, limit)]
    return _write(connection, updates)


def _is_expired(document: Document, now: datetime) -> bool:
    """Whether it is past its deadline; one that has none, which is damage, is not."""
    expires_at = document.get("expires_at")
    return isinstance(expires_at, datetime) and expires_at <= now


def _take(
    connection: Connection, found: Sequence[Document], now: datetime, until: datetime, again_at: datetime
) -> set[str]:
    """Moves the wake-ups of those that nobody else has taken meanwhile; returns their ids."""
    mark = uuid.uuid4().hex
    ids = [document["_id"] for document in found]
    waiting = [document["_id"] for document in found if document.get("status") != Status.SCHEDULED]
    still = {"_id": {"$in": waiting}, "wake_up_at": {"$lte": until}, "due_at": {"$lte": now}}
    change = {"$set": {"wake_up_at": again_at, "wake_up_mark": mark}}  # no other revision: its life stays the same
    updates: list[UpdateMany | UpdateOne] = [UpdateMany(still, change, hint="_id_")]
    updates += _releases(connection, set(ids).difference(waiting), now, again_at, mark)
    if connection.emails_quickly.bulk_write(updates, ordered=False).matched_count == len(ids):
        return set(ids)
    return {
        d["_id"] for d in connection.emails.find({"_id": {"$in": ids}, "wake_up_mark": mark}, {"_id": 1}, hint="_id_")
    }


def _releases(
    connection: Connection, ids: Collection[str], now: datetime, again_at: datetime, mark: str
) -> list[UpdateOne]:
    """Updates by which scheduled emails that have come due become queued, unless they were rescheduled meanwhile. One
    that cannot be read moves its wake-up only, or it would be in the way of the others each time."""
    if not ids:
        return []
    still = {"_id": {"$in": list(ids)}, "status": "scheduled", "due_at": {"$lte": now}}
    with faults.asking(connection.where):
        found = list(connection.emails.find(still, hint="_id_"))
    fields: Document = {"wake_up_at": again_at, "wake_up_mark": mark}
    released = {
        document["_id"]: update
        for document, update in reading.readable(found, lambda document: _release(document, now, fields))
    }
    return [released.get(document["_id"]) or _wake_up_only(document, fields) for document in found]


def _release(document: Document, now: datetime, fields: Document) -> UpdateOne:
    life = lifecycle.release(lives.life_of(document), now=now)
    return _unless_changed(document, lives.new_life(life, now=now, **fields))


def _wake_up_only(document: Document, fields: Document) -> UpdateOne:
    read = {name: document.get(name) for name in ("_id", "status", "wake_up_at")}
    return UpdateOne(read, {"$set": fields}, hint="_id_")


def _write(connection: Connection, updates: Sequence[UpdateOne]) -> int:
    """Carries out these updates of documents that nobody else has changed meanwhile; returns how many."""
    return connection.emails.bulk_write(updates, ordered=False).matched_count if updates else 0


def _unless_changed(document: Document, update: Document) -> UpdateOne:
    if not isinstance(document["revision"], int):
        raise TypeError(f"revision is {document['revision']!r}")
    return UpdateOne(lives.unchanged(document), update, hint="_id_")


def _after_lapse(
    document: Document, lease: Lease, now: datetime, doubt_delay: timedelta, most_attempts: Mapping[str, Any]
) -> Document:
    """The update for an email whose claim has lapsed. A fenced one keeps the token, in case its worker comes back."""
    life = lives.life_of(document)
    if lease.worker == leases.UNKNOWN:
        return lives.new_life(
            lifecycle.give_back(life, now=now, reason="its claim had no lease"), now=now, last_claim=None
        )
    if not lease.lapsed[document["_id"]].fenced:
        life = lifecycle.lapse_before_fence(life, now=now, again_at=now, worker=lease.worker)
        return lives.new_life(life, now=now, last_claim=None)
    life = lifecycle.lapse_after_fence(
        life,
        now=now,
        again_at=now + doubt_delay,
        worker=lease.worker,
        on_uncertain=OnUncertain(document["on_uncertain"]),
        max_attempts=most_attempts[document["_id"]],
    )
    return lives.new_life(life, now=now, last_claim={"token": lease.token, "end": "lapsed"})
