"""The claims of workers: taken, kept, fenced and settled, many at once. An email that is claimed names its lease."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pymongo import UpdateMany

from postroom.mail.email import Lane
from postroom.store.base import Claim, Settlement
from postroom.store.mongo import faults, leases, lives, reading
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.documents import SCHEMA
from postroom.store.mongo.leases import Lease, Term
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
    def fields(self) -> Document:
        """What an email has once it is claimed."""
        return {"status": "sending", "last_attempt_at": self.now, "lease": self.token}

    @property
    def update(self) -> Document:
        """Makes an email claimed, and counts the attempt."""
        return {
            "$set": self.fields,
            "$unset": {"due_at": "", "wake_up_at": ""},
            "$inc": {"attempts": 1, "revision": 1},
        }

    def lease_on(self, ids: Iterable[str]) -> Lease:
        """The lease that it begins with."""
        return Lease(token=self.token, worker=self.worker, held=dict.fromkeys(ids, Term(self.now + self.lease)))


def claim(here: Connection, ids: Sequence[str], taking: Taking) -> list[Claim]:
    """Claims those of the emails that may be claimed, in the order of `ids`."""
    wanted = {"_id": {"$in": list(ids)}, **taking.claimable}
    with faults.asking(here.where):
        found = {d["_id"]: d for d in here.emails.find(wanted, hint="_id_", batch_size=len(ids) + 1)}
    return _take(here, [found[email_id] for email_id in dict.fromkeys(ids) if email_id in found], taking)


def claim_due(here: Connection, limit: int, lowest: Lane, taking: Taking) -> list[Claim]:
    """Claims what is due in these lanes, in the order of service."""
    lanes = [lane.value for lane in Lane]
    due = {"lane": {"$in": lanes[: lanes.index(lowest) + 1]}, **taking.claimable}
    claims: list[Claim] = []
    for _ in range(_ROUNDS if limit > 0 else 0):
        room = limit - len(claims)
        with faults.asking(here.where):
            found = list(here.emails.find(due, sort=[("lane", -1), ("due_at", 1)], limit=room, hint="due"))
        claims += _take(here, found, replace(taking, token=uuid.uuid4().hex))
        if len(found) < room or len(claims) == limit:
            break
    return claims


def _take(here: Connection, found: Sequence[Document], taking: Taking) -> list[Claim]:
    """Claims those of the emails that nobody has changed since they were found, so that they are as they were found."""
    if not found:
        return []
    leases.grant(here, taking.lease_on(document["_id"] for document in found))
    updates = [
        UpdateMany({"_id": {"$in": ids}, "revision": revision}, taking.update, hint="_id_")
        for revision, ids in _by_revision(found).items()
    ]
    if here.emails_quickly.bulk_write(updates, ordered=False).matched_count < len(found):
        which = {"_id": {"$in": [document["_id"] for document in found]}, "lease": taking.token}
        taken = {document["_id"] for document in here.emails.find(which, {"_id": 1}, hint="_id_")}
        found = [document for document in found if document["_id"] in taken]
    claimed = [{**document, **taking.fields, "attempts": document["attempts"] + 1} for document in found]
    return [Claim(email=email, token=taking.token) for email in reading.with_contents(here, claimed)]


def _by_revision(found: Sequence[Document]) -> Mapping[int, list[str]]:
    """Their ids; most emails are claimed as they were accepted, and have the same."""
    ids: dict[int, list[str]] = {}
    for document in found:
        ids.setdefault(document["revision"], []).append(document["_id"])
    return ids


def renew(here: Connection, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> None:
    """Extends the leases of claims that were not recovered yet."""
    leases.renew(here, _by_token(tokens), now, lease)


def fence(here: Connection, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> set[str]:
    """Marks the claims that hold as fenced and extends their leases; returns their ids."""
    by_token = _by_token(tokens)
    open_ones = {token: left for token, ids in by_token.items() if (left := here.ended.without(token, ids))}
    return leases.fence(here, open_ones, now, lease) if open_ones else set()


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
        held = _lapsed(token) if late else {"lease": token}
        last_claim = {"token": token, "end": "settled", "mark": mark}
        fields = {s.email_id: lives.fields_of_new_life(s.life, now=now, last_claim=last_claim) for s in some}
        updates += [UpdateMany({**which, **held}, change, hint="_id_") for which, change in lives.replacing(fields)]
    written = {s.email_id for s in settlements}
    if faults.twice(lambda: here.emails.bulk_write(updates, ordered=False)).matched_count < len(settlements):
        found = here.emails.find({"_id": {"$in": list(written)}, "last_claim.mark": mark}, {"_id": 1}, hint="_id_")
        written = {document["_id"] for document in found}
    for token, some in by_token.items():
        here.ended.add(token, [s.email_id for s in some if s.email_id in written])
    return written


def _by_token(tokens: Mapping[str, str]) -> dict[str, list[str]]:
    """The ids by their tokens, for emails are mostly claimed by many under one."""
    by_token: dict[str, list[str]] = {}
    for email_id, token in tokens.items():
        by_token.setdefault(token, []).append(email_id)
    return by_token


def _lapsed(token: str) -> Document:
    return {"last_claim": {"token": token, "end": "lapsed"}, "status": {"$in": _NOT_HELD_SINCE}}
