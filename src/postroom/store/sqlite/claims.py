"""The claims of workers: taken, kept, fenced and settled, many at once, each by one conditional statement."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from postroom.mail.email import Email, Lane
from postroom.store import milliseconds, unreadable
from postroom.store.base import Settlement
from postroom.store.sqlite import decoding, encoding, rows
from postroom.store.sqlite.rows import LANES, Value
from postroom.store.taking import Taking

_CLAIM = """
    UPDATE emails
    SET status = 'sending', attempts = attempts + 1, last_attempt_at = :now, due_at = NULL, wake_up_at = NULL,
        lease_token = :token, lease_worker = :worker, lease_until = :until, fenced = 0, lapsed_token = NULL
    WHERE id IN (SELECT value FROM json_each(:ids)) AND +due_at <= :now AND +expires_at > :now
    RETURNING n
"""
_CLAIM_DUE = """
    UPDATE emails
    SET status = 'sending', attempts = attempts + 1, last_attempt_at = :now, due_at = NULL, wake_up_at = NULL,
        lease_token = :token, lease_worker = :worker, lease_until = :until, fenced = 0, lapsed_token = NULL
    WHERE n IN (
        SELECT n FROM emails INDEXED BY emails_due
        WHERE lane = :lane AND due_at <= :now AND expires_at > :now ORDER BY due_at LIMIT :limit
    )
    RETURNING n
"""
_CLAIMED = f"""
    SELECT {rows.SELECTED}, html, text, headers FROM emails JOIN bodies USING (n)
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
_SETTLE_LATE = f"""
    UPDATE emails SET {_NEW_LIFE}, lapsed_token = NULL
    WHERE id = ? AND lapsed_token = ? AND status IN ('queued', 'retrying', 'uncertain')
"""  # noqa: S608  # column names


def claim(ids: Sequence[str], taking: Taking) -> Callable[[sqlite3.Connection], list[int]]:
    """Claims those of the emails that may be claimed; brings their row numbers."""
    values = {**_values(taking), "ids": rows.to_json(ids)}
    return lambda connection: [n for (n,) in connection.execute(_CLAIM, values).fetchall()]


def claim_due(limit: int, lowest: Lane, taking: Taking) -> Callable[[sqlite3.Connection], list[int]]:
    """Claims what is due, lane by lane in the order of service down to `lowest`; brings row numbers."""

    def operation(connection: sqlite3.Connection) -> list[int]:
        claimed: list[int] = []
        for rank in range(LANES.index(lowest) + 1):
            values = {**_values(taking), "lane": rank, "limit": limit - len(claimed)}
            claimed += [n for (n,) in connection.execute(_CLAIM_DUE, values).fetchall()]
        return claimed

    return operation


def claimed(numbers: Sequence[int], token: str) -> Callable[[sqlite3.Connection], list[Email]]:
    """Reads what was just claimed, in the order of service; what cannot be read stays claimed."""
    values = {"numbers": rows.to_json(numbers), "token": token}

    def question(connection: sqlite3.Connection) -> list[Email]:
        found = unreadable.readable(connection.execute(_CLAIMED, values), decoding.whole_email_of, rows.id_of)
        return [email for _, email in found]

    return question


def renew(tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> Callable[[sqlite3.Connection], None]:
    """Extends the leases of claims that were not recovered yet."""
    values = {"tokens": rows.to_json(dict(tokens)), "until": milliseconds.of(now + lease)}

    def operation(connection: sqlite3.Connection) -> None:
        connection.execute(_RENEW, values)

    return operation


def fence(tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> Callable[[sqlite3.Connection], set[str]]:
    """Marks the claims that hold as fenced and extends their leases; brings their ids."""
    values = {"tokens": rows.to_json(dict(tokens)), "now": milliseconds.of(now), "until": milliseconds.of(now + lease)}
    return lambda connection: {email_id for (email_id,) in connection.execute(_FENCE, values).fetchall()}


def settle(
    settlements: Sequence[Settlement], *, now: datetime, late: bool = False
) -> Callable[[sqlite3.Connection], set[str]]:
    """Writes new lives where the token still holds; `late` where it was the last to lapse. Brings the ids written."""
    statement = _SETTLE_LATE if late else _SETTLE
    prepared = [(*encoding.life_values(s.life, now=now), s.email_id, s.token) for s in settlements]

    def operation(connection: sqlite3.Connection) -> set[str]:
        written = [connection.execute(statement, values).rowcount for values in prepared]
        return {s.email_id for s, count in zip(settlements, written, strict=True) if count}

    return operation


def _values(taking: Taking) -> dict[str, Value]:
    """What the statements need to know."""
    now, until = milliseconds.of(taking.now), milliseconds.of(taking.until)
    return {"token": taking.token, "worker": taking.worker, "now": now, "until": until}
