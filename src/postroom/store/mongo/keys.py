"""API keys."""

from collections.abc import Sequence
from datetime import datetime

from postroom.mail.api_key import ApiKey, Scope
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.document import SCHEMA, Document, without_gaps


def add(connection: Connection, key: ApiKey) -> None:
    """Stores a new key."""
    connection.api_keys.insert_one(
        without_gaps(
            {
                "_id": key.id,
                "schema": SCHEMA,
                "account": key.account,
                "name": key.name,
                "scopes": sorted(scope.value for scope in key.scopes),
                "domains": sorted(key.domains),
                "secret_hash": key.secret_hash,
                "created_at": key.created_at,
                "expires_at": key.expires_at,
                "revoked_at": key.revoked_at,
            }
        )
    )


def find(connection: Connection, key_id: str) -> ApiKey | None:
    """The key with this id."""
    document = connection.api_keys.find_one({"_id": key_id})
    return _key_of(document) if document else None


def listed(connection: Connection, account: str | None = None, *, revoked_too: bool = False) -> Sequence[ApiKey]:
    """The keys of an account, or of all."""
    which: Document = {} if revoked_too else {"revoked_at": None}
    index = "by_age"
    if account is not None:
        which, index = {**which, "account": account}, "by_account"
    return [_key_of(d) for d in connection.api_keys.find(which, sort=[("created_at", 1), ("_id", 1)], hint=index)]


def revoke(connection: Connection, key_id: str, *, now: datetime) -> bool:
    """Revokes a key, once."""
    first_time = [{"$set": {"revoked_at": {"$ifNull": ["$revoked_at", now]}}}]
    return connection.api_keys.update_one({"_id": key_id}, first_time).matched_count > 0


def _key_of(document: Document) -> ApiKey:
    return ApiKey(
        id=document["_id"],
        account=document["account"],
        name=document["name"],
        scopes=frozenset(Scope(scope) for scope in document.get("scopes", ())),
        domains=frozenset(document.get("domains", ())),
        secret_hash=document["secret_hash"],
        created_at=document["created_at"],
        expires_at=document.get("expires_at"),
        revoked_at=document.get("revoked_at"),
    )
