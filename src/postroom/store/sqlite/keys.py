"""API keys."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from postroom.mail import milliseconds
from postroom.mail.api_key import ApiKey, Scope
from postroom.store.sqlite import rows
from postroom.store.sqlite.operation import Operation

_COLUMNS = "id, account, name, scopes, domains, secret_hash, created_at, expires_at, revoked_at"
_ADD = f"INSERT INTO api_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # column names
_FIND = f"SELECT {_COLUMNS} FROM api_keys WHERE id = ?"  # noqa: S608  # column names
_LIST = f"""
    SELECT {_COLUMNS} FROM api_keys
    WHERE (:account IS NULL OR account = :account) AND (:revoked_too OR revoked_at IS NULL) ORDER BY created_at, id
"""  # noqa: S608  # column names
_REVOKE = "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?"


def add(key: ApiKey) -> Operation[None]:
    """Stores a new key."""
    values = (
        key.id,
        key.account,
        key.name,
        rows.to_json(sorted(key.scopes)),
        rows.to_json(sorted(key.domains)),
        key.secret_hash,
        milliseconds.of(key.created_at),
        milliseconds.of_or_none(key.expires_at),
        milliseconds.of_or_none(key.revoked_at),
    )

    def operation(connection: sqlite3.Connection) -> None:
        connection.execute(_ADD, values)

    return operation


def find(key_id: str) -> Operation[ApiKey | None]:
    """The key with this id."""

    def question(connection: sqlite3.Connection) -> ApiKey | None:
        columns = connection.execute(_FIND, (key_id,)).fetchone()
        return _key_of(columns) if columns else None

    return question


def listed(account: str | None = None, *, revoked_too: bool = False) -> Operation[Sequence[ApiKey]]:
    """The keys of an account, or of all."""
    values = {"account": account, "revoked_too": revoked_too}
    return lambda connection: [_key_of(row) for row in connection.execute(_LIST, values)]


def revoke(key_id: str, *, now: datetime) -> Operation[bool]:
    """Revokes a key, once."""
    return lambda connection: connection.execute(_REVOKE, (milliseconds.of(now), key_id)).rowcount > 0


def _key_of(columns: tuple[Any, ...]) -> ApiKey:
    key_id, account, name, scopes, domains, secret_hash, created_at, expires_at, revoked_at = columns
    return ApiKey(
        id=key_id,
        account=account,
        name=name,
        scopes=frozenset(Scope(scope) for scope in orjson.loads(scopes)),
        domains=frozenset(orjson.loads(domains)),
        secret_hash=secret_hash,
        created_at=milliseconds.to_time(created_at),
        expires_at=milliseconds.to_time_or_none(expires_at),
        revoked_at=milliseconds.to_time_or_none(revoked_at),
    )
