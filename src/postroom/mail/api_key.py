"""API keys: their form, their hash, what they may do. A key is shown once; only its hash is kept."""

import hashlib
import hmac
import re
import secrets
import uuid
import zlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do."""

    SEND = "send"  # submit emails
    READ = "read"  # read emails and listings
    MANAGE = "manage"  # update, cancel, retry
    KEYS = "keys"  # create, list and revoke keys


FULL_ACCESS = frozenset(Scope)
SENDING_ACCESS = frozenset({Scope.SEND})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What the store keeps of a key. Its `id` is a canonical UUID, version 4 (older keys have 12 hexadecimal digits).
    `domains` are the sender domains it may use, empty for any."""

    id: str
    account: str
    name: str
    scopes: frozenset[Scope]
    domains: frozenset[str]
    secret_hash: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def usable(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


_FORM = re.compile(r"pr_([0-9a-f]{32}|[0-9a-f]{12})_([0-9a-f]{64})_([0-9a-f]{8})\Z")


def mint() -> tuple[str, str, str]:
    """Makes a new key; returns its id, its text `pr_<id without hyphens>_<256 random bits>_<checksum>`, and the hash to
    keep.

    By the checksum a secret scanner recognises a key, and a mistyped one is rejected without asking the store.
    """
    key_id, secret = uuid.uuid4(), secrets.token_hex(32)
    return str(key_id), f"pr_{key_id.hex}_{secret}_{_checksum(key_id.hex, secret)}", _hash(secret)


def key_id_of(token: str) -> str | None:
    """The id inside a token, or None when the token does not have the form or its checksum is wrong."""
    found = _FORM.match(token)
    if found is None or _checksum(found[1], found[2]) != found[3]:
        return None
    return found[1] if len(found[1]) == 12 else str(uuid.UUID(found[1]))


def parse(token: str) -> tuple[str, str] | None:
    """The id and the hash to keep of a token that was minted elsewhere, or None when it is not one."""
    key_id, found = key_id_of(token), _FORM.match(token)
    return (key_id, _hash(found[2])) if key_id and found else None


def proves(token: str, key: ApiKey | None) -> bool:
    """Whether the token is this key's, in constant time; compares with a dummy when there is no such key."""
    found = _FORM.match(token)
    kept = key.secret_hash if key else "0" * 64
    return hmac.compare_digest(_hash(found[2] if found else ""), kept) and key is not None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()  # 256 random bits need no slow hash


def _checksum(id_digits: str, secret: str) -> str:
    return f"{zlib.crc32(f'{id_digits}_{secret}'.encode()):08x}"
