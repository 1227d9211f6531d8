"""Reading single emails and counting them."""

import sqlite3
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from postroom.mail import milliseconds
from postroom.mail.email import Email, Lane, Status
from postroom.store import unreadable
from postroom.store.base import AccountAndId
from postroom.store.sqlite import decoding, rows
from postroom.store.sqlite.operation import Operation

WHOLE = f"""
    SELECT {rows.SELECTED}, html, text, headers FROM emails JOIN bodies USING (n) WHERE id = ? AND account = ?
"""  # noqa: S608  # column names
_MANY = f"""
    SELECT {rows.SELECTED}, html, text, headers FROM emails JOIN bodies USING (n)
    WHERE id IN (SELECT value FROM json_each(?))
"""  # noqa: S608  # column names
_ATTACHMENTS = """
    SELECT content FROM attachments WHERE n = (SELECT n FROM emails WHERE id = ?) ORDER BY position
"""
_COUNTS = "SELECT status, count(*) FROM emails INDEXED BY emails_listed GROUP BY status"
_BACKLOG = """
    SELECT (SELECT count(*) FROM emails INDEXED BY emails_due WHERE due_at IS NOT NULL)
         + (SELECT count(*) FROM emails INDEXED BY emails_claimed WHERE lease_until IS NOT NULL)
"""
_LONGEST_DUE = "SELECT min(due_at) FROM emails INDEXED BY emails_due WHERE lane = ? AND due_at <= ?"


def get(account: str, email_id: str) -> Operation[Email | None]:
    """The whole email but for attachment contents."""

    def question(connection: sqlite3.Connection) -> Email | None:
        row = connection.execute(WHOLE, (email_id, account)).fetchone()
        return None if row is None else known_email_of(row)

    return question


def get_many(wanted: Collection[AccountAndId]) -> Operation[Mapping[AccountAndId, Email]]:
    """The whole emails of these that are there."""
    ids = rows.to_json(list({email_id for _, email_id in wanted}))

    def question(connection: sqlite3.Connection) -> Mapping[AccountAndId, Email]:
        emails = [known_email_of(row) for row in connection.execute(_MANY, (ids,))]
        return {key: email for email in emails if (key := (email.account, email.id)) in wanted}

    return question


def known_email_of(columns: tuple[Any, ...]) -> Email:
    """The email that somebody asks for, from what `WHOLE` brings. Raises `Unreadable` when it cannot be read."""
    return unreadable.read(rows.id_of(columns), partial(decoding.whole_email_of, columns))


def attachments(email_id: str) -> Operation[list[bytes]]:
    """The contents of an email's attachments, in order."""
    return lambda connection: [content for (content,) in connection.execute(_ATTACHMENTS, (email_id,))]


def counts(connection: sqlite3.Connection) -> Mapping[Status, int]:
    """How many emails stand in each status, none left out."""
    found = {row[0]: row[1] for row in connection.execute(_COUNTS)}
    return {status: found.get(status, 0) for status in Status}


def backlog(connection: sqlite3.Connection) -> int:
    """How many emails wait or are claimed."""
    unfinished: int = connection.execute(_BACKLOG).fetchone()[0]
    return unfinished


def waiting_since(now: datetime) -> Operation[Mapping[Lane, datetime]]:
    """By lane, since when the email waits that is due longest."""

    def question(connection: sqlite3.Connection) -> Mapping[Lane, datetime]:
        since: dict[Lane, datetime] = {}
        for rank, lane in enumerate(rows.LANES):
            due_at = connection.execute(_LONGEST_DUE, (rank, milliseconds.of(now))).fetchone()[0]
            if due_at is not None:
                since[lane] = milliseconds.to_time(due_at)
        return since

    return question


def unused_bytes(connection: sqlite3.Connection) -> int:
    """How much room in the file nothing uses."""
    (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages * page_bytes)
