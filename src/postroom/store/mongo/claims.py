"""The claims of workers: kept, fenced and settled, many at once. How they are taken: see `taking`."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pymongo import UpdateMany

from postroom.store.base import Settlement
from postroom.store.mongo import faults, leases, lives
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.document import Document

_NOT_HELD_SINCE = ["queued", "retrying", "uncertain"]


def renew(connection: Connection, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> None:
    """Extends the leases of claims that were not recovered yet."""
    leases.renew(connection, _by_token(tokens), now, lease)


def fence(connection: Connection, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> set[str]:
    """Marks the claims that hold as fenced and extends their leases; returns their ids."""
    by_token = _by_token(tokens)
    open_ones = {token: left for token, ids in by_token.items() if (left := connection.ended.without(token, ids))}
    return leases.fence(connection, open_ones, now, lease) if open_ones else set()


def settle(connection: Connection, settlements: Sequence[Settlement], *, now: datetime, late: bool = False) -> set[str]:
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
    if faults.twice(lambda: connection.emails.bulk_write(updates, ordered=False)).matched_count < len(settlements):
        found = connection.emails.find(
            {"_id": {"$in": list(written)}, "last_claim.mark": mark}, {"_id": 1}, hint="_id_"
        )
        written = {document["_id"] for document in found}
    for token, some in by_token.items():
        connection.ended.add(token, [s.email_id for s in some if s.email_id in written])
    return written


def _by_token(tokens: Mapping[str, str]) -> dict[str, list[str]]:
    """The ids by their tokens, for emails are mostly claimed by many under one."""
    by_token: dict[str, list[str]] = {}
    for email_id, token in tokens.items():
        by_token.setdefault(token, []).append(email_id)
    return by_token


def _lapsed(token: str) -> Document:
    return {"last_claim": {"token": token, "end": "lapsed"}, "status": {"$in": _NOT_HELD_SINCE}}
