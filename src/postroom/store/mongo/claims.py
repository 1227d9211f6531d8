"""The claims of workers: kept, fenced and settled, many at once. How they are taken: see `taking`."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from pymongo import UpdateMany, UpdateOne

from postroom.mail import lifecycle
from postroom.store.base import Settlement
from postroom.store.mongo import faults, leases, lives, reading
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.document import Document


def renew(connection: Connection, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> None:
    """Extends the leases of claims that were not recovered yet."""
    leases.renew(connection, _by_token(tokens), now, lease)


def fence(connection: Connection, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> set[str]:
    """Marks the claims that hold as fenced and extends their leases; returns their ids."""
    by_token = _by_token(tokens)
    open_ones = {token: left for token, ids in by_token.items() if (left := connection.ended.without(token, ids))}
    return leases.fence(connection, open_ones, now, lease) if open_ones else set()


def settle(connection: Connection, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
    """Writes new lives where the claim still holds; returns the ids written."""
    if not settlements:
        return set()
    mark = uuid.uuid4().hex
    by_token: dict[str, list[Settlement]] = {}
    for settlement in settlements:
        by_token.setdefault(settlement.token, []).append(settlement)
    updates: list[UpdateMany] = []
    for token, some in by_token.items():
        last_claim = _settled(token, mark)
        fields = {s.email_id: lives.fields_of_new_life(s.life, now=now, last_claim=last_claim) for s in some}
        held = {"lease": token}
        updates += [UpdateMany({**which, **held}, change, hint="_id_") for which, change in lives.replacing(fields)]
    written = _written(connection, updates, [s.email_id for s in settlements], mark)
    for token, some in by_token.items():
        connection.ended.add(token, [s.email_id for s in some if s.email_id in written])
    return written


def settle_late(connection: Connection, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
    """Lets lives go on with these where the claim was fenced, has lapsed and was the last; returns the ids written."""
    mark = uuid.uuid4().hex
    late = {(s.email_id, s.token): s.life for s in settlements}
    ids = list({s.email_id for s in settlements})
    with faults.asking(connection.where):
        lapsed = {"_id": {"$in": ids}, "last_claim.end": "lapsed"}
        found = list(connection.emails.find(lapsed, hint="_id_", batch_size=len(ids) + 1))
    theirs = [document for document in found if _last_claim(document) in late]
    updates: dict[str, UpdateOne] = {}
    for document, life in reading.readable(
        theirs, lambda document: lifecycle.succeed_late(lives.life_of(document), late[_last_claim(document)])
    ):
        if life:
            update = lives.new_life(life, now=now, last_claim=_settled(document["last_claim"]["token"], mark))
            updates[document["_id"]] = UpdateOne(lives.unchanged(document), update, hint="_id_")
    return _written(connection, list(updates.values()), list(updates), mark) if updates else set()


def _written(
    connection: Connection, updates: Sequence[UpdateMany | UpdateOne], ids: Collection[str], mark: str
) -> set[str]:
    """Carries out these updates; returns the ids of those that were not refused, which have the mark of this call."""
    if faults.twice(lambda: connection.emails.bulk_write(updates, ordered=False)).matched_count == len(ids):
        return set(ids)
    found = connection.emails.find({"_id": {"$in": list(ids)}, "last_claim.mark": mark}, {"_id": 1}, hint="_id_")
    return {document["_id"] for document in found}


def _by_token(tokens: Mapping[str, str]) -> dict[str, list[str]]:
    """The ids by their tokens, for emails are mostly claimed by many under one."""
    by_token: dict[str, list[str]] = {}
    for email_id, token in tokens.items():
        by_token.setdefault(token, []).append(email_id)
    return by_token


def _last_claim(document: Document) -> tuple[str, str]:
    return document["_id"], document["last_claim"]["token"]


def _settled(token: str, mark: str) -> Document:
    return {"token": token, "end": "settled", "mark": mark}
