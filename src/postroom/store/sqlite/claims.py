"""The claims of workers: taken, kept, fenced and settled, many at once, each by one conditional statement."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from postroom.mail import lifecycle, milliseconds
from postroom.mail.email import Email, Lane, Life
from postroom.store import unreadable
from postroom.store.base import Settlement
from postroom.store.sqlite import decoding, encoding, rows
from postroom.store.sqlite.operation import Operation
from postroom.store.sqlite.rows import LANES, Row, Value
from postroom.store.taking import PUT_OFF_AT_ONCE, PUT_OFF_FOR, Taking


class Taken(NamedTuple):
    """The row of an email that was claimed, and what it held before that a claim overwrites."""

    n: int
    status: str
    due_at: int
    wake_up_at: int
    last_attempt_at: int | None
    lapsed_token: str | None


_FIND = f"""
    SELECT {", ".join(Taken._fields)} FROM emails
    WHERE id IN (SELECT value FROM json_each(:ids)) AND +due_at <= :now AND +expires_at > :now
"""  # noqa: S608  # column names
_FIND_DUE = f"""
    SELECT expires_at <= :now, {", ".join(Taken._fields)} FROM emails INDEXED BY emails_due
    WHERE lane = :lane AND due_at <= :now ORDER BY due_at LIMIT :limit
"""  # noqa: S608  # column names
_PUT_OFF = """
    UPDATE emails SET due_at = :later, wake_up_at = :later WHERE expires_at <= :now AND n IN (
        SELECT n FROM emails INDEXED BY emails_due
        WHERE lane = :lane AND due_at <= :now ORDER BY due_at LIMIT :at_once
    )
"""
_CLAIM = """
    UPDATE emails
    SET status = 'sending', attempts = attempts + 1, last_attempt_at = :now, due_at = NULL, wake_up_at = NULL,
        lease_token = :token, lease_worker = :worker, lease_until = :until, fenced = 0, lapsed_token = NULL
    WHERE n IN (SELECT value FROM json_each(:numbers))
"""
_GIVE_BACK = """
    UPDATE emails
    SET status = :status, attempts = attempts - 1, last_attempt_at = :last_attempt_at, due_at = :due_at,
        wake_up_at = :wake_up_at, lease_token = NULL, lease_worker = NULL, lease_until = NULL, fenced = 0,
        lapsed_token = :lapsed_token
    WHERE n = :n AND lease_token = :token
"""
_CLAIMED = f"""
    SELECT {rows.SELECTED}, html, text, headers FROM emails LEFT JOIN bodies USING (n)
    WHERE n IN (SELECT value FROM json_each(:numbers)) AND +lease_token = :token
    ORDER BY lane, next_attempt_at, n
"""  # noqa: S608  # column names
_RENEW = """
    UPDATE emails SET lease_until = :until FROM json_each(:tokens) AS held
    WHERE emails.id = held.key AND +emails.lease_token = held.value
"""
_FENCE = """
    UPDATE emails SET lease_until = :until, fenced = 1 FROM json_each(:tokens) AS held
    WHERE emails.id = held.key AND +emails.lease_token = held.value AND +emails.lease_until > :now
    RETURNING id
"""
_NEW_LIFE = ", ".join(f"{column} = ?" for column in rows.LIFE_COLUMNS)
_SETTLE = f"""
    UPDATE emails SET {_NEW_LIFE}, lease_token = NULL, lease_worker = NULL, lease_until = NULL, fenced = 0
    WHERE id = ? AND lease_token = ?
"""  # noqa: S608  # column names
_LAPSED = f"SELECT {rows.SELECTED} FROM emails WHERE id = ? AND lapsed_token = ?"  # noqa: S608  # column names
_SETTLE_LATE = f"UPDATE emails SET {_NEW_LIFE}, lapsed_token = NULL WHERE id = ?"  # noqa: S608  # column names


def claim(ids: Sequence[str], taking: Taking) -> Operation[list[Taken]]:
    """Claims those of the emails that may be claimed."""
    values: dict[str, Value] = {"now": milliseconds.of(taking.now), "ids": rows.to_json(ids)}

    def operation(connection: sqlite3.Connection) -> list[Taken]:
        found = list(map(Taken._make, connection.execute(_FIND, values)))
        _take(connection, found, taking)
        return found

    return operation


def claim_due(limit: int, lowest: Lane, taking: Taking) -> Operation[list[Taken]]:
    """Claims what is due, lane by lane in the order of service down to `lowest`."""

    def operation(connection: sqlite3.Connection) -> list[Taken]:
        found: list[Taken] = []
        for rank in range(LANES.index(lowest) + 1):
            found += _found_due(connection, rank, limit - len(found), taking.now)
        _take(connection, found, taking)
        return found

    return operation


def give_back(taken: Sequence[Taken], token: str) -> Operation[None]:
    """Makes emails what they were before, as far as this claim still holds."""
    values = [{**row._asdict(), "token": token} for row in taken]

    def operation(connection: sqlite3.Connection) -> None:
        connection.executemany(_GIVE_BACK, values)

    return operation


def put_off(taken: Sequence[Taken], taking: Taking) -> Operation[None]:
    """The same, but they are due after a pause."""
    again_at = milliseconds.of(taking.now + unreadable.PAUSE)
    return give_back([row._replace(due_at=again_at, wake_up_at=again_at) for row in taken], taking.token)


def claimed(taken: Sequence[Taken], token: str) -> Operation[dict[int, Email]]:
    """Reads what was just claimed, in the order of service; brings what can be read, by its row."""
    values = {"numbers": rows.to_json([row.n for row in taken]), "token": token}

    def question(connection: sqlite3.Connection) -> dict[int, Email]:
        found = unreadable.readable(connection.execute(_CLAIMED, values), decoding.whole_email_of, rows.id_of)
        return {columns[0]: email for columns, email in found}

    return question


def renew(tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> Operation[None]:
    """Extends the leases of claims that were not recovered yet."""
    values = {"tokens": rows.to_json(dict(tokens)), "until": milliseconds.of(now + lease)}

    def operation(connection: sqlite3.Connection) -> None:
        connection.execute(_RENEW, values)

    return operation


def fence(tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> Operation[set[str]]:
    """Marks the claims that hold as fenced and extends their leases; returns their ids."""
    values = {"tokens": rows.to_json(dict(tokens)), "now": milliseconds.of(now), "until": milliseconds.of(now + lease)}
    return lambda connection: {email_id for (email_id,) in connection.execute(_FENCE, values).fetchall()}


def settle(settlements: Sequence[Settlement], *, now: datetime) -> Operation[set[str]]:
    """Writes new lives where the token still holds; brings the ids written."""
    prepared = [(*encoding.life_values(s.life, now=now), s.email_id, s.token) for s in settlements]

    def operation(connection: sqlite3.Connection) -> set[str]:
        written = [connection.execute(_SETTLE, values).rowcount for values in prepared]
        return {s.email_id for s, count in zip(settlements, written, strict=True) if count}

    return operation


def settle_late(settlements: Sequence[Settlement], *, now: datetime) -> Operation[set[str]]:
    """Lets lives go on with these where the token was the last to lapse; brings the ids written."""

    def operation(connection: sqlite3.Connection) -> set[str]:
        written: set[str] = set()
        for settlement in settlements:
            found = connection.execute(_LAPSED, (settlement.email_id, settlement.token)).fetchall()
            read = partial(_after_late_success, late=settlement.life)
            for _, life in unreadable.readable(map(Row._make, found), read, rows.id_of):
                if life:
                    values = encoding.life_values(life, now=now)
                    connection.execute(_SETTLE_LATE, (*values, settlement.email_id))
                    written.add(settlement.email_id)
        return written

    return operation


def _after_late_success(row: Row, late: Life) -> Life | None:
    return lifecycle.succeed_late(decoding.life_of(row), late)


def _found(connection: sqlite3.Connection, statement: str, values: Mapping[str, Value]) -> list[Taken]:
    return list(map(Taken._make, connection.execute(statement, values)))


def _found_due(connection: sqlite3.Connection, rank: int, limit: int, now: datetime) -> list[Taken]:
    """Those that are in time. Some others may be in their way: these are put off, and others are looked for once."""
    values = {"now": milliseconds.of(now), "lane": rank, "limit": limit}
    found = connection.execute(_FIND_DUE, values).fetchall()
    if any(expired for expired, *_ in found):
        later = milliseconds.of(now + PUT_OFF_FOR)
        connection.execute(_PUT_OFF, {**values, "later": later, "at_once": PUT_OFF_AT_ONCE})
        found = connection.execute(_FIND_DUE, values).fetchall()
    return [Taken._make(columns) for expired, *columns in found if not expired]


def _take(connection: sqlite3.Connection, found: Sequence[Taken], taking: Taking) -> None:
    """Gives these emails to the worker."""
    if not found:
        return
    values = {
        "numbers": rows.to_json([row.n for row in found]),
        "token": taking.token,
        "worker": taking.worker,
        "now": milliseconds.of(taking.now),
        "until": milliseconds.of(taking.until),
    }
    connection.execute(_CLAIM, values)
