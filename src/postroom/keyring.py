"""Makes API keys. Checking them at the door is `api.auth`."""

from collections.abc import Iterable
from datetime import datetime

from postroom.errors import InvalidInput
from postroom.mail import address, api_key, headers
from postroom.mail.api_key import ApiKey, Scope
from postroom.store.base import Store

DEFAULT_ACCOUNT = "default"
LONGEST_NAME = 100  # characters


def create(
    account: str,
    name: str,
    *,
    scopes: frozenset[Scope],
    domains: Iterable[str] = (),
    expires_at: datetime | None = None,
    store: Store,
) -> tuple[ApiKey, str]:
    """Makes and stores a key; returns it with its token, which nobody can show again. Raises `InvalidInput` for a name
    or a domain that is none."""
    key_id, token, secret_hash = api_key.mint()
    key = ApiKey(
        id=key_id,
        account=account,
        name=checked_name(name),
        scopes=scopes,
        domains=frozenset([domain(one, f"domains[{i}]") for i, one in enumerate(domains)]),
        secret_hash=secret_hash,
        created_at=store.clock(),
        expires_at=expires_at,
    )
    store.add_key(key)
    return key, token


def add(token: str, name: str, *, store: Store) -> bool:
    """Stores a full-access key that was minted elsewhere, unless it is there; returns False when the token is none."""
    parts = api_key.parse(token)
    if parts is None:
        return False
    key_id, secret_hash = parts
    if store.find_key(key_id) is None:
        key = ApiKey(
            id=key_id,
            account=DEFAULT_ACCOUNT,
            name=checked_name(name),
            scopes=api_key.FULL_ACCESS,
            domains=frozenset(),
            secret_hash=secret_hash,
            created_at=store.clock(),
        )
        store.add_key(key)
    return True


def checked_name(name: str) -> str:
    """The name of a key: one line of 1 to 100 characters. Raises `InvalidInput`."""
    if not name:
        raise InvalidInput("name", "is empty")
    return headers.check_text(name, member="name", limit=LONGEST_NAME)


def domain(written: str, member: str) -> str:
    """A sender domain as addresses have it, in lower-case A-labels. Raises `InvalidInput`."""
    try:
        return address.domain_of(address.parse(f"x@{written}", member=member).addr)
    except InvalidInput:
        raise InvalidInput(member, "is not a domain name") from None


def create_first(*, store: Store) -> str | None:
    """Makes a full-access key when the store has none at all; returns its token, else None."""
    if store.list_keys() or store.list_keys(revoked_too=True):
        return None
    return create(DEFAULT_ACCOUNT, "first key", scopes=api_key.FULL_ACCESS, store=store)[1]
