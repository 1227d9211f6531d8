"""API keys over the API: make one (shown once), list them, revoke one."""

import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from postroom import keyring
from postroom.api import paging, problems, render
from postroom.api.context import Context
from postroom.api.errors import Name, Refusal, invalid_parameter, not_found
from postroom.api.exchange import Exchange
from postroom.api.response import Response, as_json
from postroom.api.schemas import ApiKeyIn
from postroom.errors import InvalidInput
from postroom.mail import when
from postroom.mail.api_key import FULL_ACCESS, SENDING_ACCESS, ApiKey, Scope

log = logging.getLogger(__name__)

LONGEST_KEY_LIFE = timedelta(days=3660)
PAGE = ("limit", "after", "before")  # clients send these; there is only one page
PARAMETERS = ("revoked", *PAGE)

_KEY_ID = re.compile(r"[0-9a-f-]{36}|[0-9a-f]{12}")


async def create(context: Context, exchange: Exchange) -> Response:
    """Creates a key with at most the rights of the calling key."""
    asking = await context.authenticator.admit(exchange, Scope.KEYS)
    sent = problems.shaped(ApiKeyIn, await context.read_json(exchange))
    if sent.domain_id is not None:
        raise InvalidInput("domain_id", "is not offered; name the domains in `domains`")
    made, token = await exchange.change(
        keyring.create,
        asking.account,
        sent.name,
        scopes=SENDING_ACCESS if sent.permission == "sending_access" else FULL_ACCESS,
        domains=_domains(sent.domains, asking),
        expires_at=_expires_at(sent.expires_at, asking, context.postroom.clock()),
        store=context.postroom.store,
    )
    log.info("key created", extra={"key_id": made.id})
    return as_json({**render.key(made), "token": token}, 201)


async def list_all(context: Context, exchange: Exchange) -> Response:
    """The keys of the account, oldest first, without their secrets; those that were revoked only if asked for."""
    asking = await context.authenticator.admit(exchange, Scope.KEYS)
    revoked_too = _revoked_too(exchange.scope["query_string"])
    keys = await exchange.ask(context.postroom.store.list_keys, asking.account, revoked_too=revoked_too)
    data = [render.key(one) for one in keys]
    return as_json({"object": "list", "has_more": False, "data": data})


async def revoke(context: Context, exchange: Exchange) -> Response:
    """Revokes a key: at once in this process, within seconds in others."""
    asking = await context.authenticator.admit(exchange, Scope.KEYS)
    store = context.postroom.store
    key_id = exchange.path_id.lower()
    found = await exchange.ask(store.find_key, key_id) if _KEY_ID.fullmatch(key_id) else None
    if found is None or found.account != asking.account:
        raise not_found("no such API key")
    if asking.domains and not (found.domains and found.domains <= asking.domains):
        message = "this API key is bound to sender domains and revokes only keys that are bound to them, too"
        raise Refusal(403, Name.VALIDATION_ERROR, message)
    await exchange.change(store.revoke_key, key_id, now=context.postroom.clock())
    context.authenticator.forget(key_id)
    log.info("key revoked", extra={"key_id": key_id})
    return as_json({"object": "api_key", "id": key_id, "deleted": True})


def _revoked_too(query: bytes) -> bool:
    """What the query says of revoked keys."""
    written = paging.parameters(query, PARAMETERS).get("revoked", "false")
    if written not in ("true", "false"):
        raise invalid_parameter("revoked", "must be true or false")
    return written == "true"


def _domains(written: Sequence[str] | None, asking: ApiKey) -> frozenset[str]:
    """The sender domains of the new key. A key that is bound to some gives no others away."""
    domains = frozenset(keyring.domain(one, f"domains[{i}]") for i, one in enumerate(written or ()))
    if asking.domains and not domains <= asking.domains:
        message = "domains: this API key is bound to sender domains and cannot give others away"
        raise Refusal(403, Name.VALIDATION_ERROR, message)
    return domains or asking.domains


def _expires_at(text: str | None, asking: ApiKey, now: datetime) -> datetime | None:
    """When the new key expires: no later than the one that asks."""
    if text is None:
        return asking.expires_at
    expires = when.parse(text, member="expires_at", now=now, furthest=LONGEST_KEY_LIFE)
    if expires <= now:
        raise InvalidInput("expires_at", "must be in the future")
    return min(expires, asking.expires_at or expires)
