"""The claims of workers: taken, kept, fenced and settled, many at once, each document by one conditional update."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pymongo import UpdateMany

from postroom.mail.email import Lane
from postroom.store.base import Claim, Settlement
from postroom.store.mongo import faults, lives, reading
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.documents import SCHEMA
from postroom.store.mongo.lives import Document

_ROUNDS = 3  # of looking for due emails, when others were faster to claim what was found
_NOT_HELD_SINCE = ["queued", "retrying", "uncertain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """Who claims, when and for how long. Its token is new, and stands for all emails of one call."""

    worker: str
    now: datetime
    lease: timedelta
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def claimable(self) -> Document:
        """The filter for emails that may be claimed; those that a newer Postroom wrote are left to it."""
        return {"due_at": {"$lte": self.now}, "expires_at": {"$gt": self.now}, "schema": {"$lte": SCHEMA}}

    @property
    def update(self) -> Document:
        """Makes an email claimed, and counts the attempt."""
        lease = {"token": self.token, "worker": self.worker, "until": self.now + self.lease, "fenced": False}
        return {
            "$set": {"status": "sending", "last_attempt_at": self.now, "lease": lease},
            "$unset": {"due_at": "", "wake_up_at": "", "wake_up_mark": "", "last_claim": ""},
            "$inc": {"attempts": 1, "revision": 1},
        }


def claim(here: Connection, ids: Sequence[str], taking: Taking) -> list[Claim]:
    """Claims those of the emails that may be claimed, in the order of `ids`."""
    place = {email_id: position for position, email_id in enumerate(ids)}
    wanted = {"_id": {"$in": list(place)}, **taking.claimable}
    claimed = here.emails_quickly.update_many(wanted, taking.update, hint="_id_").matched_count
    if not claimed:
        return []
    emails = reading.whole(here, {"_id": {"$in": list(place)}, "lease.token": taking.token}, len(place))
    return sorted((Claim(email=e, token=taking.token) for e in emails), key=lambda c: place[c.email.id])


def claim_due(here: Connection, limit: int, lowest: Lane, taking: Taking) -> list[Claim]:
    """Claims what is due in these lanes, in the order of service."""
    lanes = [lane.value for lane in Lane]
    due = {"lane": {"$in": lanes[: lanes.index(lowest) + 1]}, **taking.claimable}
    claims: list[Claim] = []
    for _ in range(_ROUNDS if limit > 0 else 0):
        room = limit - len(claims)
        with faults.asking(here.where):
            found = here.emails.find(due, {"_id": 1}, sort=[("lane", -1), ("due_at", 1)], limit=room, hint="due")
            ids = [document["_id"] for document in found]
        claims += claim(here, ids, taking) if ids else []
        if len(ids) < room or len(claims) == limit:
            break
    return claims


def renew(here: Connection, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> None:
    """Extends the leases of claims that were not recovered yet."""
    change = {"$set": {"lease.until": now + lease}, "$inc": {"revision": 1}}
    held = _held(tokens)
    if tokens:
        here.emails_quickly.bulk_write([UpdateMany(which, change, hint="_id_") for which in held], ordered=False)


def fence(here: Connection, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> set[str]:
    """Marks the claims that hold as fenced and extends their leases; returns their ids.

    Durable, unlike a claim: a crash of the server that forgot it would have the email sent twice without a flag.
    """
    if not tokens:
        return set()
    change = {"$set": {"lease.until": now + lease, "lease.fenced": True}, "$inc": {"revision": 1}}
    live = [{**which, "lease.until": {"$gt": now}} for which in _held(tokens)]
    fenced = here.emails.bulk_write([UpdateMany(which, change, hint="_id_") for which in live], ordered=False)
    if fenced.matched_count == len(tokens):
        return set(tokens)
    found = here.emails.find({"_id": {"$in": list(tokens)}, "lease.fenced": True}, {"lease": 1}, hint="_id_")
    return {d["_id"] for d in found if d["lease"]["token"] == tokens[d["_id"]] and d["lease"]["until"] > now}


def settle(here: Connection, settlements: Sequence[Settlement], *, now: datetime, late: bool = False) -> set[str]:
    """Writes new lives where the claim still holds; `late`, where it was fenced, has lapsed and was the last. Returns
    the ids written; should some have been refused, the mark of this call tells which."""
    if not settlements:
        return set()
    mark = uuid.uuid4().hex
    by_token: dict[str, list[Settlement]] = {}
    for settlement in settlements:
        by_token.setdefault(settlement.token, []).append(settlement)
    updates: list[UpdateMany] = []
    for token, some in by_token.items():
        held = _lapsed(token) if late else {"lease.token": token}
        last_claim = {"token": token, "end": "settled", "mark": mark}
        lifes = {s.email_id: lives.fields_of_new_life(s.life, now=now, last_claim=last_claim) for s in some}
        updates += [UpdateMany({**which, **held}, change, hint="_id_") for which, change in lives.replacing(lifes)]
    ids = [s.email_id for s in settlements]
    if faults.twice(lambda: here.emails.bulk_write(updates, ordered=False)).matched_count == len(ids):
        return set(ids)
    written = here.emails.find({"_id": {"$in": ids}, "last_claim.mark": mark}, {"_id": 1}, hint="_id_")
    return {document["_id"] for document in written}


def _held(tokens: Mapping[str, str]) -> Iterator[Document]:
    """A filter for each token, for emails are mostly claimed by hundreds under one."""
    by_token: dict[str, list[str]] = {}
    for email_id, token in tokens.items():
        by_token.setdefault(token, []).append(email_id)
    for token, ids in by_token.items():
        yield {"_id": {"$in": ids}, "lease.token": token}


def _lapsed(token: str) -> Document:
    return {"last_claim": {"token": token, "end": "lapsed"}, "status": {"$in": _NOT_HELD_SINCE}}
