"""API keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from postroom.errors import StoreError
from postroom.mail import milliseconds
from postroom.mail.api_key import ApiKey, Scope
from postroom.store.redis.session import Session

_KEYS, _REVOKED = "postroom:keys", "postroom:revoked"


def add(session: Session, key: ApiKey) -> None:
    """Stores a new key."""
    if not session.write(("HSETNX", _KEYS, key.id, _to_json(key)), durable=True)[0]:
        raise StoreError(f"there is an API key {key.id} already")


def find(session: Session, key_id: str) -> ApiKey | None:
    """The key with this id."""
    packed, revoked_at = session.ask_all([("HGET", _KEYS, key_id), ("HGET", _REVOKED, key_id)])
    return _key_of(packed, revoked_at) if packed else None


def listed(session: Session, account: str | None = None, *, revoked_too: bool = False) -> Sequence[ApiKey]:
    """The keys of an account, or of all, oldest first."""
    ids, revoked = session.ask_all([("HKEYS", _KEYS), ("HGETALL", _REVOKED)])
    times_revoked = dict(zip(revoked[::2], revoked[1::2], strict=True))
    asked = ids if revoked_too else [key_id for key_id in ids if key_id not in times_revoked]
    packed = session.ask("HMGET", _KEYS, *asked) if asked else []
    found = [_key_of(one, times_revoked.get(key_id)) for key_id, one in zip(asked, packed, strict=True)]
    wanted = [key for key in found if account in (None, key.account) and (revoked_too or key.revoked_at is None)]
    return sorted(wanted, key=lambda key: (key.created_at, key.id))


def revoke(session: Session, key_id: str, *, now: datetime) -> bool:
    """Revokes a key, once. Keys are never deleted, so that nothing can come between the question and the write."""
    if not session.ask("HEXISTS", _KEYS, key_id):
        return False
    session.write(("HSETNX", _REVOKED, key_id, milliseconds.of(now)), durable=True)
    return True


def _to_json(key: ApiKey) -> bytes:
    return orjson.dumps(
        {
            "id": key.id,
            "account": key.account,
            "name": key.name,
            "scopes": sorted(key.scopes),
            "domains": sorted(key.domains),
            "secret_hash": key.secret_hash,
            "created_at": milliseconds.of(key.created_at),
            "expires_at": milliseconds.of_or_none(key.expires_at),
            "revoked_at": milliseconds.of_or_none(key.revoked_at),
        }
    )


def _key_of(packed: bytes, revoked_at: bytes | None) -> ApiKey:
    members: dict[str, Any] = orjson.loads(packed)
    revoked_ms = members["revoked_at"] or (int(revoked_at) if revoked_at else None)
    return ApiKey(
        id=members["id"],
        account=members["account"],
        name=members["name"],
        scopes=frozenset(Scope(scope) for scope in members["scopes"]),
        domains=frozenset(members["domains"]),
        secret_hash=members["secret_hash"],
        created_at=milliseconds.to_time(members["created_at"]),
        expires_at=milliseconds.to_time_or_none(members["expires_at"]),
        revoked_at=milliseconds.to_time_or_none(revoked_ms),
    )
