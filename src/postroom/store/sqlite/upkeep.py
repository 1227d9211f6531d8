"""The sweep's writes: publish what is due, recover lapsed claims, fail what is too old, delete what is done."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeAlias, TypeVar

from postroom.mail import lifecycle, milliseconds
from postroom.mail.email import Lane, Life, OnUncertain, Status
from postroom.store import unreadable
from postroom.store.sqlite import decoding, encoding, rows
from postroom.store.sqlite.operation import Operation
from postroom.store.sqlite.rows import LANES, Row, Value
from postroom.store.taking import PUT_OFF_FOR

_UNPUBLISHED = f"""
    SELECT {rows.SELECTED} FROM emails INDEXED BY emails_unpublished
    WHERE lane = ? AND wake_up_at <= ? AND due_at <= ? ORDER BY wake_up_at LIMIT ?
"""  # noqa: S608  # column names
_PUBLISHED = "UPDATE emails SET wake_up_at = ? WHERE n IN (SELECT value FROM json_each(?))"
_PUT_OFF = """
    UPDATE emails SET due_at = ?, wake_up_at = ? WHERE expires_at <= ? AND n IN (SELECT value FROM json_each(?))
"""
_LAPSED = f"""
    SELECT {rows.SELECTED} FROM emails INDEXED BY emails_claimed
    WHERE lease_until <= ? ORDER BY lease_until LIMIT ?
"""  # noqa: S608  # column names
_EXPIRED = f"""
    SELECT {rows.SELECTED} FROM emails INDEXED BY emails_expiring
    WHERE due_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?
"""  # noqa: S608  # column names
_FINISHED = f"""
    SELECT {rows.SELECTED} FROM emails INDEXED BY emails_finished
    WHERE finished_at < ? ORDER BY finished_at LIMIT ?
"""  # noqa: S608  # column names
_FORGET = (
    "DELETE FROM bodies WHERE n IN (SELECT value FROM json_each(?))",
    "DELETE FROM attachments WHERE n IN (SELECT value FROM json_each(?))",
    "DELETE FROM emails WHERE n IN (SELECT value FROM json_each(?))",
)
_FORGET_TERM = "DELETE FROM terms WHERE account = ? AND term = ? AND id = ?"
_FORGET_KEYS = """
    DELETE FROM idempotency WHERE (account, endpoint, key) IN (
        SELECT account, endpoint, key FROM idempotency WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
    )
"""
_NEW_LIFE = f"""
    UPDATE emails
    SET {", ".join(f"{column} = ?" for column in rows.LIFE_COLUMNS)},
        lease_token = NULL, lease_worker = NULL, lease_until = NULL, fenced = 0,
        lapsed_token = coalesce(?, lapsed_token)
    WHERE n = ?
"""  # noqa: S608  # column names
_LOOK_AGAIN = "UPDATE emails SET lease_until = ? WHERE n IN (SELECT value FROM json_each(?))"
_FOR_EVER = 2**62

Read = TypeVar("Read")
_Values: TypeAlias = tuple[Value, ...]


def write_life(
    connection: sqlite3.Connection, row: Row, life: Life, *, now: datetime, wake_up_at: datetime | None = None
) -> None:
    """Replaces the life of a row that this transaction has read. A fenced claim that ends here leaves its token."""
    connection.execute(_NEW_LIFE, _new_life(row, life, now, wake_up_at))


def due(
    limit: int, *, now: datetime, wake_up_again_at: datetime, published_until: datetime | None = None
) -> Operation[Mapping[Lane, list[str]]]:
    """Takes what the sweep shall publish now."""

    def operation(connection: sqlite3.Connection) -> Mapping[Lane, list[str]]:
        found: dict[Lane, list[str]] = {}
        until, room = milliseconds.of(published_until or now), limit
        for rank, lane in enumerate(LANES):
            waiting = _select(connection, _UNPUBLISHED, rank, until, milliseconds.of(now), room)
            in_time = _put_off_expired(connection, waiting, now)
            _publish(connection, in_time, now, wake_up_again_at)
            if waiting:
                found[lane] = [row.id for row in sorted(in_time, key=lambda row: (row.due_at, row.n))]
            room -= len(waiting)
        return found

    return operation


def recover(limit: int, *, now: datetime, doubt_delay: timedelta, everything: bool = False) -> Operation[int]:
    """Ends lapsed claims, or all. Those that cannot be read are looked at again after a pause."""

    def operation(connection: sqlite3.Connection) -> int:
        until = _FOR_EVER if everything else milliseconds.of(now)
        lapsed = _select(connection, _LAPSED, until, limit)
        ended = _prepared(lapsed, lambda row: _new_life(row, _after_lapse(row, now, doubt_delay), now))
        connection.executemany(_NEW_LIFE, [values for _, values in ended])
        if len(ended) < len(lapsed):
            left = {row.n for row in lapsed} - {row.n for row, _ in ended}
            again_at = milliseconds.of(now + unreadable.PAUSE)
            connection.execute(_LOOK_AGAIN, (again_at, rows.to_json(list(left))))
        return len(ended)

    return operation


def expire(limit: int, *, now: datetime, passed_over: unreadable.PassedOver) -> Operation[int]:
    """Fails what has waited past its deadline."""

    def operation(connection: sqlite3.Connection) -> int:
        moment = milliseconds.of(now)

        def failed(row: Row) -> _Values:
            return _new_life(row, lifecycle.expire(decoding.life_of(row), now=now), now)

        found = _first(connection, _EXPIRED, moment, limit + len(passed_over))
        expired = list(islice(passed_over.readable(found, failed, rows.id_of, now=now), limit))
        connection.executemany(_NEW_LIFE, [values for _, values in expired])
        return len(expired)

    return operation


def prune(limit: int, *, finished_before: datetime) -> Operation[int]:
    """Deletes finished emails with all that belongs to them."""

    def operation(connection: sqlite3.Connection) -> int:
        found = _first(connection, _FINISHED, milliseconds.of(finished_before), limit)
        old = list(islice(unreadable.readable(found, decoding.terms_of, rows.id_of), limit))
        terms = [(row.account, term, row.id) for row, found in old for term in found]
        connection.executemany(_FORGET_TERM, terms)
        numbers = _numbers(row for row, _ in old)
        for statement in _FORGET:
            connection.execute(statement, (numbers,))
        return len(old)

    return operation


def prune_keys(limit: int, *, now: datetime) -> Operation[int]:
    """Deletes expired idempotency keys. Returns how many."""

    def operation(connection: sqlite3.Connection) -> int:
        return connection.execute(_FORGET_KEYS, (milliseconds.of(now), limit)).rowcount

    return operation


def _select(connection: sqlite3.Connection, statement: str, *values: Value) -> list[Row]:
    return [Row._make(columns) for columns in connection.execute(statement, values).fetchall()]


def _first(connection: sqlite3.Connection, statement: str, until: int, limit: int) -> Iterator[Row]:
    """The first rows up to then. Those that cannot be read stay where they are, so there are further ones; SQLite steps
    no further than it is asked."""
    return map(Row._make, connection.execute(statement, (until, limit + unreadable.FURTHER)))


def _put_off_expired(connection: sqlite3.Connection, waiting: list[Row], now: datetime) -> list[Row]:
    """Puts off those past their deadline; returns the others."""
    moment, later = milliseconds.of(now), milliseconds.of(now + PUT_OFF_FOR)
    in_time = [row for row in waiting if not isinstance(row.expires_at, int) or row.expires_at > moment]
    if len(in_time) < len(waiting):
        connection.execute(_PUT_OFF, (later, later, moment, _numbers(waiting)))
    return in_time


def _publish(connection: sqlite3.Connection, waiting: list[Row], now: datetime, again_at: datetime) -> None:
    connection.execute(_PUBLISHED, (milliseconds.of(again_at), _numbers(waiting)))
    scheduled = [row for row in waiting if row.status == Status.SCHEDULED]

    def released(row: Row) -> _Values:
        return _new_life(row, lifecycle.release(decoding.life_of(row), now=now), now, again_at)

    connection.executemany(_NEW_LIFE, [values for _, values in _prepared(scheduled, released)])


def _new_life(row: Row, life: Life, now: datetime, wake_up_at: datetime | None = None) -> _Values:
    """What `_NEW_LIFE` needs. Raises `TypeError` for a life in which something has no place."""
    lapsed = row.lease_token if row.fenced else None
    return (*encoding.life_values(life, now=now, wake_up_at=wake_up_at), lapsed, row.n)


def _prepared(found: Iterable[Row], prepare: Callable[[Row], Read]) -> list[tuple[Row, Read]]:
    """These rows with what is made of them, but for those that cannot be read."""
    return list(unreadable.readable(found, prepare, rows.id_of))


def _after_lapse(row: Row, now: datetime, doubt_delay: timedelta) -> Life:
    life, worker = decoding.life_of(row), row.lease_worker
    if not row.fenced:
        return lifecycle.lapse_before_fence(life, now=now, again_at=now, worker=worker)
    return lifecycle.lapse_after_fence(
        life,
        now=now,
        again_at=now + doubt_delay,
        worker=worker,
        on_uncertain=OnUncertain(row.on_uncertain),
        max_attempts=row.max_attempts,
    )


def _numbers(listed: Iterable[Row]) -> Value:
    return rows.to_json([row.n for row in listed])
