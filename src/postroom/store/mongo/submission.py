"""Accepting submissions: emails, contents and attachments in one transaction. An idempotency key with its answer stands
in the content of the submission's first email: that never changes, and a collection of its own would cost far more."""

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeAlias

from pymongo.client_session import ClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from postroom.errors import KeyBusy
from postroom.store.base import Added, IdempotencyKey, KeyReused, Submission
from postroom.store.mongo import documents, faults, transaction, uploads
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.document import Document

Key: TypeAlias = tuple[str, str, str]
"""Account, endpoint and key."""

_PAUSES = (0.0, 0.01, 0.03, 0.1, 0.2)  # seconds after each time that a key was taken; the other commits meanwhile


@dataclass(frozen=True, slots=True)
class _Taken:
    """What was stored with a key."""

    fingerprint: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writes:
    """What a group writes, by collection; of `uploaded` emails the attachments are there already."""

    emails: list[Document]
    contents: list[Document]
    attachments: list[Document]
    uploaded: list[str]


def add(
    connection: Connection, submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime
) -> list[Added | KeyReused]:
    """Stores what is new. Should a key be there already, or another process be about to store it, looks at what was
    stored with it, and stores the rest. Raises `PyMongoError` when nothing was written, or a `StoreError`."""
    large = uploads.too_large([email for submission in submissions for email in submission.emails])
    if not large:
        return _add(connection, submissions, (), now, wake_up_at)
    uploads.put(connection, large, now=now)
    try:
        return _add(connection, submissions, {email.id for email in large}, now, wake_up_at)
    except Exception:
        uploads.take_back(connection, large)
        raise


def _add(
    connection: Connection,
    submissions: Sequence[Submission],
    uploaded: Collection[str],
    now: datetime,
    wake_up_at: datetime,
) -> list[Added | KeyReused]:
    earlier: Mapping[Key, _Taken] = {}
    for tries, pause in enumerate(_PAUSES):
        fresh = _fresh(submissions, earlier)
        try:
            if fresh:
                writes = _writes(fresh.values(), uploaded, now, wake_up_at)
                transaction.run(connection, partial(_write, connection, writes, now if tries else None))
        except PyMongoError as error:
            if not transaction.lost_race(error) and not faults.is_duplicate(error):
                raise
            last_error = error
        else:
            return _answers(submissions, fresh, earlier)
        time.sleep(pause)
        earlier = _look_up(connection, submissions, now)
    if faults.is_duplicate(last_error):
        raise last_error
    transaction.end_abandoned(connection)
    raise KeyBusy("another submission with the same idempotency key is under way: try again")


def replay(connection: Connection, account: str, key: IdempotencyKey, *, now: datetime) -> str | None:
    """The answer that is durably kept for a key, if the payload is the same."""
    for taken in _durable(connection, [(account, key.endpoint, key.key)], now).values():
        if taken.fingerprint == key.fingerprint:
            return taken.answer
    return None


def _fresh(submissions: Iterable[Submission], earlier: Mapping[Key, _Taken]) -> dict[int, Submission]:
    """The submissions to store, by their places: those without a key, and the first with each key not used before."""
    fresh: dict[int, Submission] = {}
    seen = set(earlier)
    for place, submission in enumerate(submissions):
        key = _key_of(submission)
        if key not in seen:
            fresh[place] = submission
        if key:
            seen.add(key)
    return fresh


def _answers(
    submissions: Iterable[Submission], fresh: Mapping[int, Submission], earlier: Mapping[Key, _Taken]
) -> list[Added | KeyReused]:
    taken = dict(earlier)
    answers: list[Added | KeyReused] = []
    for place, submission in enumerate(submissions):
        idempotency, key = submission.idempotency, _key_of(submission)
        if place in fresh:
            answers.append(Added(answer=submission.answer, replayed=False))
            if idempotency and key:
                taken[key] = _Taken(idempotency.fingerprint, submission.answer)
        elif idempotency and key and taken[key].fingerprint == idempotency.fingerprint:
            answers.append(Added(answer=taken[key].answer, replayed=True))
        else:
            answers.append(KeyReused())
    return answers


def _writes(fresh: Iterable[Submission], uploaded: Collection[str], now: datetime, wake_up_at: datetime) -> _Writes:
    writes = _Writes(emails=[], contents=[], attachments=[], uploaded=[])
    for submission in fresh:
        contents = [documents.of_content(email) for email in submission.emails]
        if key := _key_of(submission):
            contents = contents or [{"_id": _text_of(key)}]
            contents[0]["idempotency"] = _of_key(key, submission)
        for email in submission.emails:
            at = email.life.next_attempt_at
            immediate = at is not None and at <= now
            writes.emails.append(documents.of_email(email, now=now, wake_up_at=wake_up_at if immediate else None))
            if email.id in uploaded:
                writes.uploaded.append(email.id)
            else:
                writes.attachments.extend(documents.of_attachments(email))
        writes.contents.extend(contents)
    return writes


def _of_key(key: Key, submission: Submission) -> Document:
    assert submission.idempotency is not None
    return {
        "key": _text_of(key),
        "fingerprint": submission.idempotency.fingerprint,
        "answer": submission.answer,
        "expires_at": submission.idempotency.expires_at,
    }


def _write(connection: Connection, writes: _Writes, expired_by: datetime | None, session: ClientSession) -> None:
    """The contents come last: from there to the commit, nobody else can use the keys in them. Given a time, keys that
    have expired by then make room. The write fails if a key is taken."""
    if writes.uploaded:
        uploads.end(connection, writes.uploaded, session)
    if writes.attachments:
        connection.attachments.insert_many(writes.attachments, session=session)
    if writes.emails:
        connection.emails.insert_many(writes.emails, session=session)
    if expired_by is not None:
        keys = [content["idempotency"]["key"] for content in writes.contents if "idempotency" in content]
        expired = {"idempotency.key": {"$in": keys}, "idempotency.expires_at": {"$lte": expired_by}}
        connection.contents.update_many(expired, {"$unset": {"idempotency": ""}}, hint="by_key", session=session)
    if writes.contents:
        connection.contents.insert_many(writes.contents, session=session)


def _look_up(connection: Connection, submissions: Iterable[Submission], now: datetime) -> dict[Key, _Taken]:
    """The unexpired keys among these that are durably stored; by them we vouch for emails that others stored."""
    return _durable(connection, [key for key in map(_key_of, submissions) if key], now)


def _durable(connection: Connection, keys: Sequence[Key], now: datetime) -> dict[Key, _Taken]:
    by_text = {_text_of(key): key for key in keys}
    durable = connection.contents.with_options(read_concern=ReadConcern("majority"))
    taken = {"idempotency.key": {"$in": list(by_text)}, "idempotency.expires_at": {"$gt": now}}
    found = [content["idempotency"] for content in durable.find(taken, {"idempotency": 1}, hint="by_key")]
    return {by_text[d["key"]]: _Taken(d["fingerprint"], d["answer"]) for d in found}


def _key_of(submission: Submission) -> Key | None:
    idempotency = submission.idempotency
    return (submission.account, idempotency.endpoint, idempotency.key) if idempotency else None


def _text_of(key: Key) -> str:
    """A key as one text, in which no two are the same."""
    return json.dumps(key, ensure_ascii=False)
