"""Claiming emails: they are found, marked with a lease, and read, in steps small enough to be read in time.

A claim that nobody reads lapses as if its worker had crashed, and the third such fails the email. So what may have been
marked and could not be read is given back; what cannot be read in any case is due again after a pause.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pymongo
from pymongo import UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from postroom.errors import StoreError, StoreUnavailable
from postroom.mail.email import Lane
from postroom.store import unreadable
from postroom.store.base import Claim
from postroom.store.mongo import faults, leases, lives, reading
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.document import SCHEMA, Document
from postroom.store.mongo.leases import Hold, Lease
from postroom.store.taking import PUT_OFF_AT_ONCE, Taking

_ROUNDS = 3  # of looking for due emails, when others were faster to claim what was found
_STEP_BYTES = 1024 * 1024  # of bodies, marked and read together; also a slow link carries as much in time
_MOST_BYTES = 16 * 1024 * 1024
_LAST_STEP_AFTER_SECONDS = 0.7  # of the call's beginning, if something was claimed by then
_READ_AFTER_SECONDS = 1.5  # all must be; the rest of the call's patience is for giving back
_LEAST_SECONDS = 0.1
_COUNTED = ("attempts", "revision")
_IN_ORDER = [("lane", -1), ("due_at", 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTaking(Taking):
    """One whose steps must be through in time."""

    began: float = field(default_factory=time.monotonic)

    @property
    def passed(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self.began

    @property
    def in_haste(self) -> bool:
        """Whether what was claimed must do."""
        return self.passed > _LAST_STEP_AFTER_SECONDS

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
        return Lease(token=self.token, worker=self.worker, held=dict.fromkeys(ids, Hold(self.until)))


def claim(connection: Connection, ids: Sequence[str], *, worker: str, now: datetime, lease: timedelta) -> list[Claim]:
    """Claims those of the emails that may be claimed, in the order of `ids`."""
    taking = TimedTaking(worker=worker, now=now, lease=lease)
    _give_back_earlier(connection)
    wanted = {"_id": {"$in": list(ids)}, **taking.claimable}
    with faults.asking(connection.where):
        primary = connection.primary()
        found = {d["_id"]: d for d in _sound(connection.emails.find(wanted, hint="_id_", batch_size=len(ids) + 1))}
    in_order = [found[email_id] for email_id in dict.fromkeys(ids) if email_id in found]
    return _take(connection, in_order, primary, taking)


def claim_due(
    connection: Connection,
    limit: int,
    *,
    lowest: Lane = Lane.BULK,
    worker: str,
    now: datetime,
    lease: timedelta,
) -> list[Claim]:
    """Claims what is due in these lanes, in the order of service."""
    taking = TimedTaking(worker=worker, now=now, lease=lease)
    _give_back_earlier(connection)
    lanes = [lane.value for lane in Lane]
    sound = {name: {"$type": "number"} for name in _COUNTED}  # others would stand in front of the index for ever
    due = {"lane": {"$in": lanes[: lanes.index(lowest) + 1]}, **taking.claimable, **sound}
    due["expires_at"] = {"$type": "date"}  # what has expired is found, too, or it would be passed over by each look
    claims: list[Claim] = []
    for _ in range(_ROUNDS if limit > 0 else 0):
        room = limit - len(claims)
        try:
            with faults.asking(connection.where):
                primary = connection.primary()
                found = list(connection.emails.find(due, sort=_IN_ORDER, limit=room, hint="due"))
            in_time = [document for document in found if document["expires_at"] > taking.now]
            claims += _take(connection, in_time, primary, taking)
            if len(in_time) < len(found):
                _put_off_expired(connection, due, taking)
        except (PyMongoError, StoreError):
            if not claims:
                raise
            break
        if len(found) < room or len(claims) == limit or (claims and taking.in_haste):
            break
    return claims


def _put_off_expired(connection: Connection, due: Document, taking: TimedTaking) -> None:
    """Moves those past their deadline out of the way of the others."""
    first = connection.emails.find(due, {"_id": 1}, sort=_IN_ORDER, limit=PUT_OFF_AT_ONCE, hint="due")
    lives.put_off_expired(connection.emails_quickly, [document["_id"] for document in first], now=taking.now)


def _sound(found: Iterable[Document]) -> Iterator[Document]:
    """The documents that a claim can be counted on; one without is reported and left out."""
    return (document for document, _ in reading.readable(found, lambda d: [d[name] + 1 for name in _COUNTED]))


def _take(
    connection: Connection, found: Sequence[Document], primary: tuple[object, ...], taking: TimedTaking
) -> list[Claim]:
    """Claims those of the emails that nobody has changed since this primary told of them; large ones as long as there
    is time."""
    claims: list[Claim] = []
    for step in _steps(found):
        if claims and taking.in_haste:
            break
        step_taking = replace(taking, token=uuid.uuid4().hex)
        try:
            with pymongo.timeout(max(_READ_AFTER_SECONDS - taking.passed, _LEAST_SECONDS)):
                taken = _take_together(connection, step, step_taking)
                connection.check_primary(primary)
                claims += taken
        except (PyMongoError, StoreUnavailable):
            connection.to_give_back.append((step, step_taking.token))
            _give_back_earlier(connection)
            if not claims:
                raise
            break
    return claims


def _steps(found: Sequence[Document]) -> Iterator[Sequence[Document]]:
    """The emails, as many together as have so many bytes, or one; what is left beyond the most for one call is left."""
    step: list[Document] = []
    in_step = in_all = 0
    for document in found:
        size = document.get("body_size", 0)
        size = size if isinstance(size, int) else _STEP_BYTES
        if step and in_step + size > _STEP_BYTES:
            yield step
            if in_all + size > _MOST_BYTES:
                return
            step, in_step = [], 0
        step.append(document)
        in_step += size
        in_all += size
    if step:
        yield step


def _take_together(connection: Connection, found: Sequence[Document], taking: TimedTaking) -> list[Claim]:
    """Claims emails that are then as they were found, but for the claim."""
    claimed = [{**document, **taking.fields, "attempts": document["attempts"] + 1} for document in found]
    still = taking.claimable["due_at"]
    updates = [
        UpdateMany({"_id": {"$in": ids}, "revision": revision, "due_at": still}, taking.update, hint="_id_")
        for revision, ids in _by_revision(found).items()
    ]
    if connection.emails_quickly.bulk_write(updates, ordered=False).matched_count < len(found):
        which = {"_id": {"$in": [document["_id"] for document in found]}, "lease": taking.token}
        taken = {document["_id"] for document in connection.emails.find(which, {"_id": 1}, hint="_id_")}
        claimed = [document for document in claimed if document["_id"] in taken]
    if not claimed or not leases.grant(connection, taking.lease_on(document["_id"] for document in claimed)):
        return []
    emails = {email.id: email for email in reading.with_contents(connection, claimed)}
    if unread := {document["_id"] for document in claimed} - emails.keys():
        _put_off(connection, [document for document in found if document["_id"] in unread], taking)
    return [Claim(email=email, token=taking.token) for email in emails.values()]


def _put_off(connection: Connection, found: Sequence[Document], taking: TimedTaking) -> None:
    """Gives back what cannot be read, out of the way of the others."""
    again_at = taking.now + unreadable.PAUSE
    later = [{**document, "due_at": again_at, "wake_up_at": again_at} for document in found]
    connection.to_give_back.append((later, taking.token))
    _give_back_earlier(connection)


def _by_revision(found: Sequence[Document]) -> Mapping[int, list[str]]:
    """Their ids; most emails are claimed as they were accepted, and have the same."""
    ids: dict[int, list[str]] = {}
    for document in found:
        ids.setdefault(document["revision"], []).append(document["_id"])
    return ids


def _give_back_earlier(connection: Connection) -> None:
    """Gives back what calls of this process may have marked and could not read, as far as the server answers now."""
    while connection.to_give_back:
        try:
            found, token = connection.to_give_back.popleft()
        except IndexError:  # another thread was faster
            return
        try:
            _give_back(connection, found, token)
        except BulkWriteError:  # the others were given back; a sweep will see that these have no lease
            continue
        except PyMongoError:
            connection.to_give_back.appendleft((found, token))
            return


def _give_back(connection: Connection, found: Sequence[Document], token: str) -> None:
    """Makes those emails that were marked what they were when they were found."""
    updates: list[UpdateOne] = []
    for document in found:
        update: Document = {"$unset": {"lease": ""}, "$inc": {"attempts": -1, "revision": 1}}
        before = {name: document.get(name) for name in ("status", "due_at", "wake_up_at", "last_attempt_at")}
        update["$set"] = {name: value for name, value in before.items() if value is not None}
        update["$unset"] |= {name: "" for name, value in before.items() if value is None}
        updates.append(UpdateOne({"_id": document["_id"], "lease": token}, update, hint="_id_"))
    connection.emails_quickly.bulk_write(updates, ordered=False)
