"""Leases: one document for each call that claimed emails, which name it. So a fence or a renewal is one small write.

The order of the writes is what keeps an email from falling between two stools: `docs/adr/0007-leases-of-their-own.md`.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from operator import index, itemgetter
from typing import TypeAlias

from pymongo import DeleteOne, UpdateMany
from pymongo.collection import Collection as Documents
from pymongo.errors import DuplicateKeyError

from postroom.errors import StoreUnavailable
from postroom.store import unreadable
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.document import SCHEMA, Document

UNKNOWN = "unknown"  # the worker of a lease that was never granted
_TRIES = 10  # each time another step was faster
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_GRANTED_WITHIN = timedelta(seconds=10)  # of the claim; whoever has not granted it by then was frozen, or is gone


@dataclass(frozen=True, slots=True)
class Hold:
    """Until when an email is held, and whether its final dot may have been written."""

    until: datetime
    fenced: bool = False


Holds: TypeAlias = Mapping[str, Hold]
"""The emails that are held, by their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What one worker claimed by one call, and still holds. `lapsed` emails are on their way to another life, with the
    hold that they had; nobody can fence or renew them."""

    token: str
    worker: str
    held: Holds
    lapsed: Holds = field(default_factory=dict)
    revision: int = 1


def grant(connection: Connection, lease: Lease) -> bool:
    """Stores the lease that claimed emails name already; False where a sweep took them for lost and barred it.

    In this order a crash of the server may forget a lease and keep the claims, and never the other way round.
    """
    try:
        connection.leases_quickly.insert_one(_new(lease))
    except DuplicateKeyError:
        return False
    return True


def fence(connection: Connection, by_token: Mapping[str, Collection[str]], now: datetime, lease: timedelta) -> set[str]:
    """Marks emails as fenced and prolongs their holds; returns those that are still held. Durable, unlike a claim: a
    crash of the server that forgot it would have the email sent twice without a flag."""
    hold = Hold(now + lease, fenced=True)
    updates = []
    for token, ids in by_token.items():
        all_held = {"_id": token, "look_at": {"$gt": now}, "emails": {"$all": list(ids)}}
        fenced = {"$push": {"apart": _part(hold, ids)}, "$inc": {"revision": 1}, "$min": {"look_at": hold.until}}
        updates.append(UpdateMany(all_held, fenced))
    if connection.leases.bulk_write(updates, ordered=False).matched_count == len(updates):
        return {email_id for ids in by_token.values() for email_id in ids}
    return {
        email_id
        for token, ids in by_token.items()
        for email_id in _extend(connection.leases, token, ids, hold, now, ended_too=False)
    }


def renew(connection: Connection, by_token: Mapping[str, Collection[str]], now: datetime, lease: timedelta) -> None:
    """Prolongs the holds of emails, fenced or not, also of those that have ended and were not recovered."""
    for token, ids in by_token.items():
        _extend(connection.leases_quickly, token, ids, Hold(now + lease), now, ended_too=True)


def to_look_at(connection: Connection, limit: int, now: datetime | None) -> tuple[list[Lease], int]:
    """Leases in which something may have lapsed by then, or all: one, or more as long as they name no more emails than
    the limit. Those that no email names in turn are deleted; returns the others, and how many there were. Those that
    cannot be read are looked at again after a pause."""
    due = {"look_at": {"$lte": now or _NEVER}, "schema": {"$lte": SCHEMA}}
    found = connection.leases.find(due, sort=[("look_at", 1)], limit=limit, batch_size=limit, hint="look_at")
    old: list[Lease] = []
    ids: list[str] = []
    damaged: list[str] = []
    for document in found:
        lease = _readable(document)
        if lease is None:
            damaged.append(document["_id"])
            continue
        if old and len(ids) + len(lease.held) > limit:
            break
        old.append(lease)
        ids += (*lease.held, *lease.lapsed)
    if damaged and now:
        later = {"$set": {"look_at": now + unreadable.PAUSE}}
        connection.leases_quickly.update_many({"_id": {"$in": damaged}}, later, hint="_id_")
    if not old:
        return [], len(damaged)
    named = {"_id": {"$in": ids}, "lease": {"$in": [lease.token for lease in old]}}
    in_use = {document["lease"] for document in connection.emails.find(named, {"lease": 1}, hint="_id_")}
    unused = [DeleteOne({"_id": lease.token, "revision": lease.revision}) for lease in old if lease.token not in in_use]
    if unused:
        connection.leases_quickly.bulk_write(unused, ordered=False)
    return [lease for lease in old if lease.token in in_use], len(old) + len(damaged)


def bar_missing(connection: Connection, now: datetime) -> None:
    """Stores the leases that emails name and that are not there, as lapsed, so that nobody is granted them any more.
    Their worker died or froze between the claim and the lease, or the server forgot it in a crash."""
    claimed = {"status": "sending", "last_attempt_at": {"$lte": now - _GRANTED_WITHIN}}
    named: list[Document] = [{"$match": claimed}, {"$group": {"_id": "$lease"}}]
    tokens = {d["_id"] for d in connection.emails.aggregate(named, hint="listed") if isinstance(d["_id"], str)}
    gone = tokens - {d["_id"] for d in connection.leases.find({"_id": {"$in": list(tokens)}}, {"_id": 1})}
    if not gone:
        return
    naming = connection.emails.find({"status": "sending", "lease": {"$in": list(gone)}}, {"lease": 1}, hint="listed")
    lapsed: dict[str, dict[str, Hold]] = {}
    for document in naming:
        lapsed.setdefault(document["lease"], {})[document["_id"]] = Hold(now)
    for token, holds in lapsed.items():
        barred = Lease(token=token, worker=UNKNOWN, held={}, lapsed=holds)
        with suppress(DuplicateKeyError):  # its worker, or another sweep, was faster
            connection.leases_quickly.insert_one(_new(barred, again_at=now))


def change(leases: Documents[Document], lease: Lease, *, again_at: datetime = _NEVER) -> Lease | None:
    """Stores what has become of a lease, deletes it when nothing has remained; None when another step was faster. What
    has lapsed already is to be looked at again at that time."""
    unchanged = {"_id": lease.token, "revision": lease.revision}
    if not lease.held and not lease.lapsed:
        return lease if leases.delete_one(unchanged).deleted_count else None
    next_one = replace(lease, revision=lease.revision + 1)
    fields = _fields(next_one, again_at)
    update = {"$set": fields, "$unset": {name: "" for name in ("apart", "lapsed") if name not in fields}}
    return next_one if leases.update_one(unchanged, update).matched_count else None


def _extend(
    leases: Documents[Document], token: str, ids: Collection[str], hold: Hold, now: datetime, *, ended_too: bool
) -> Collection[str]:
    """Gives a new hold to those of the emails that are held, also if their hold has ended; returns their ids. What was
    fenced remains so."""
    for _ in range(_TRIES):
        document = leases.find_one({"_id": token})
        lease = _readable(document) if document else None
        if lease is None:
            return ()
        holding = {i: old for i in ids if (old := lease.held.get(i)) and (ended_too or old.until > now)}
        new = {i: replace(hold, fenced=hold.fenced or old.fenced) for i, old in holding.items()}
        if not new or change(leases, replace(lease, held={**lease.held, **new}), again_at=now):
            return new
    raise StoreUnavailable("a lease is changed by others all the time: try again")


def _new(lease: Lease, again_at: datetime = _NEVER) -> Document:
    return {"_id": lease.token, "schema": SCHEMA, **_fields(lease, again_at)}


def _readable(document: Document) -> Lease | None:
    """The lease in a document; None for one that makes no sense, which is reported."""
    return next((lease for _, lease in unreadable.readable([document], _lease_of, itemgetter("_id"))), None)


def _lease_of(document: Document) -> Lease:
    if not isinstance(document["emails"], list):
        raise TypeError(f"emails are {document['emails']!r}")
    held = dict.fromkeys(document["emails"], Hold(_moment(document["until"])))
    for part in document.get("apart", ()):
        held |= {email_id: _hold_of(part) for email_id in part["emails"] if email_id in held}
    lapsed = {email_id: _hold_of(part) for part in document.get("lapsed", ()) for email_id in part["emails"]}
    return Lease(
        token=document["_id"], worker=document["worker"], held=held, lapsed=lapsed, revision=index(document["revision"])
    )


def _fields(lease: Lease, again_at: datetime = _NEVER) -> Document:
    """Most emails are held by the same holds: those are told first, and the others apart."""
    first, *apart = _by_hold(lease.held) or [(Hold(_NEVER), [])]
    if first[0].fenced:
        first, apart = (Hold(first[0].until), []), [first, *apart]
    fields: Document = {
        "revision": lease.revision,
        "worker": lease.worker,
        "until": first[0].until,
        "look_at": min([again_at if lease.lapsed else _NEVER, *(hold.until for hold in lease.held.values())]),
        "emails": list(lease.held),
    }
    if apart:
        fields["apart"] = [_part(hold, ids) for hold, ids in apart]
    if lease.lapsed:
        fields["lapsed"] = [_part(hold, ids) for hold, ids in _by_hold(lease.lapsed)]
    return fields


def _by_hold(holds: Holds) -> list[tuple[Hold, list[str]]]:
    """The ids by their holds, what is not fenced first."""
    ids: dict[Hold, list[str]] = {}
    for email_id, hold in holds.items():
        ids.setdefault(hold, []).append(email_id)
    return sorted(ids.items(), key=lambda one: (one[0].fenced, one[0].until))


def _part(hold: Hold, ids: Iterable[str]) -> Document:
    return {"until": hold.until, "fenced": hold.fenced, "emails": list(ids)}


def _hold_of(part: Document) -> Hold:
    return Hold(_moment(part["until"]), part["fenced"])


def _moment(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"a time is {value!r}")
    return value
