"""Makes API keys and says what may be shown of them. Checking them at the door is `api.auth`."""

from datetime import datetime

from postroom.mail import api_key
from postroom.mail.api_key import ApiKey, Scope
from postroom.mail.email import Json
from postroom.store.base import Store

DEFAULT_ACCOUNT = "default"


def create(
    account: str,
    name: str,
    *,
    scopes: frozenset[Scope],
    domains: frozenset[str] = frozenset(),
    expires_at: datetime | None = None,
    store: Store,
) -> tuple[ApiKey, str]:
    """Makes and stores a key; returns it with its token, which nobody can show again."""
    key_id, token, secret_hash = api_key.mint()
    key = ApiKey(
        id=key_id,
        account=account,
        name=name,
        scopes=scopes,
        domains=frozenset(domain.lower() for domain in domains),
        secret_hash=secret_hash,
        created_at=store.clock(),
        expires_at=expires_at,
    )
    store.add_key(key)
    return key, token


def create_first(*, store: Store) -> str | None:
    """Makes a full-access key when the store has none at all; returns its token, else None."""
    if store.list_keys():
        return None
    return create(DEFAULT_ACCOUNT, "first key", scopes=api_key.FULL_ACCESS, store=store)[1]


def public(key: ApiKey) -> dict[str, Json]:
    """What may be shown of a key; times as ISO 8601."""
    return {
        "id": key.id,
        "name": key.name,
        "permission": "full_access" if key.scopes == api_key.FULL_ACCESS else "sending_access",
        "domains": sorted(key.domains),
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }
