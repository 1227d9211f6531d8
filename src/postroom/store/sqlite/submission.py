"""Accepting submissions: emails, their bodies and attachments, and the answer kept for their idempotency key."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from postroom.mail import milliseconds
from postroom.mail.email import Email
from postroom.store import search_terms
from postroom.store.base import Added, IdempotencyKey, KeyReused, Submission
from postroom.store.sqlite import encoding, rows
from postroom.store.sqlite.operation import Operation
from postroom.store.sqlite.rows import Value

Values: TypeAlias = tuple[Value, ...]

_COLUMNS = ("n", *rows.EMAIL_COLUMNS, *rows.LIFE_COLUMNS)
_ADD_EMAIL = f"INSERT INTO emails ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608  # names
_ADD_BODY = "INSERT INTO bodies (n, html, text, headers) VALUES (?, ?, ?, ?)"
_ADD_ATTACHMENT = "INSERT INTO attachments (n, position, content) VALUES (?, ?, ?)"
_ADD_TERM = "INSERT INTO terms (account, term, id) VALUES (?, ?, ?)"
_LAST = "SELECT coalesce(max(n), 0) FROM emails"
_TAKE_KEY = """
    INSERT INTO idempotency (account, endpoint, key, fingerprint, answer, expires_at)
    VALUES (:account, :endpoint, :key, :fingerprint, :answer, :expires_at)
    ON CONFLICT (account, endpoint, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, answer = excluded.answer, expires_at = excluded.expires_at
    WHERE expires_at <= :now
"""
_KEY_TAKEN_BY = """
    SELECT fingerprint, answer FROM idempotency
    WHERE account = :account AND endpoint = :endpoint AND key = :key
"""
_ANSWER_KEPT = """
    SELECT answer FROM idempotency
    WHERE account = :account AND endpoint = :endpoint AND key = :key
    AND fingerprint = :fingerprint AND expires_at > :now
"""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One email as rows, numbered only when it is written."""

    email: Values
    body: Values
    attachments: list[bytes | None]
    terms: list[Values]


def add(
    submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime
) -> Operation[list[Added | KeyReused]]:
    """Prepares the rows in the caller's thread; the operation that it returns only writes them."""
    prepared = [[_prepare(email, now, wake_up_at) for email in s.emails] for s in submissions]

    def operation(connection: sqlite3.Connection) -> list[Added | KeyReused]:
        answers: list[Added | KeyReused] = []
        fresh: list[_Prepared] = []
        for submission, its_rows in zip(submissions, prepared, strict=True):
            earlier = _take_key(connection, submission, now)
            answers.append(earlier or Added(answer=submission.answer, replayed=False))
            fresh += [] if earlier else its_rows
        _write(connection, fresh)
        return answers

    return operation


def replay(account: str, key: IdempotencyKey, *, now: datetime) -> Operation[str | None]:
    """The answer that is kept for a key, if the payload is the same."""
    values = _key_values(account, key, "", now)

    def operation(connection: sqlite3.Connection) -> str | None:
        found = connection.execute(_ANSWER_KEPT, values).fetchone()
        return str(found[0]) if found else None

    return operation


def _prepare(email: Email, now: datetime, wake_up_at: datetime) -> _Prepared:
    at = email.life.next_attempt_at
    immediate = at is not None and at <= now
    life = encoding.life_values(email.life, now=now, wake_up_at=wake_up_at if immediate else None)
    terms = search_terms.of_email([r.address for r in email.life.recipients], email.tags)
    return _Prepared(
        encoding.email_values(email) + life,
        encoding.body_values(email),
        [attachment.content for attachment in email.attachments],
        [(email.account, term, email.id) for term in terms],
    )


def _take_key(connection: sqlite3.Connection, submission: Submission, now: datetime) -> Added | KeyReused | None:
    """Notes the idempotency key; or returns what an earlier submission with it means for this one."""
    if submission.idempotency is None:
        return None
    values = _key_values(submission.account, submission.idempotency, submission.answer, now)
    if connection.execute(_TAKE_KEY, values).rowcount:
        return None
    fingerprint, answer = connection.execute(_KEY_TAKEN_BY, values).fetchone()
    return Added(answer=answer, replayed=True) if fingerprint == submission.idempotency.fingerprint else KeyReused()


def _key_values(account: str, key: IdempotencyKey, answer: str, now: datetime) -> dict[str, Value]:
    return {
        "account": account,
        "endpoint": key.endpoint,
        "key": key.key,
        "fingerprint": key.fingerprint,
        "answer": answer,
        "expires_at": milliseconds.of(key.expires_at),
        "now": milliseconds.of(now),
    }


def _write(connection: sqlite3.Connection, fresh: list[_Prepared]) -> None:
    (last,) = connection.execute(_LAST).fetchone()
    numbered = list(enumerate(fresh, last + 1))
    connection.executemany(_ADD_EMAIL, [(n, *p.email) for n, p in numbered])
    connection.executemany(_ADD_BODY, [(n, *p.body) for n, p in numbered])
    connection.executemany(_ADD_TERM, [term for p in fresh for term in p.terms])
    contents = [(n, position, content) for n, p in numbered for position, content in enumerate(p.attachments)]
    connection.executemany(_ADD_ATTACHMENT, contents)
