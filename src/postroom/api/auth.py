"""Who asks, and may they: bearer keys, their scopes, and how often a key or an address may knock."""

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime

from postroom.api.buckets import Buckets, BucketState
from postroom.api.errors import Name, Refusal
from postroom.api.exchange import Exchange
from postroom.mail import api_key
from postroom.mail.address import domain_of
from postroom.mail.api_key import ApiKey, Scope
from postroom.mail.email import Address
from postroom.store.base import Store

CACHE_SECONDS = 5.0  # a revoked key works no longer than this
MOST_CACHED = 10_000
FAILURES_A_MINUTE = 60  # of one address


@dataclass(frozen=True, slots=True)
class _Known:
    key: ApiKey
    until: float


class Authenticator:
    """Lets requests in. Keys that proved right are remembered for a few seconds, by the hash of their header."""

    def __init__(self, store: Store, *, rate_limit: int) -> None:
        self._store = store
        self._known: dict[bytes, _Known] = {}
        self._revoked = 0  # how many keys, in this process
        self._rates = Buckets(rate=rate_limit, size=rate_limit) if rate_limit else None
        self._failures = Buckets(rate=FAILURES_A_MINUTE / 60, size=FAILURES_A_MINUTE)

    async def admit(self, exchange: Exchange, scope: Scope | None = None) -> ApiKey:
        """The key of this request, which has the scope. Raises `Refusal`: for key, rate or scope, in that order."""
        known = self._recognised(exchange) or await self._look_up(exchange)
        key = known.key
        exchange.key_id = key.id
        if self._rates:
            self._count(exchange, key, self._rates)
        if scope and scope not in key.scopes:
            message = f"this API key is restricted: it lacks the scope `{scope}`"
            raise Refusal(401, Name.RESTRICTED_API_KEY, message)
        return key

    def forget(self, key_id: str) -> None:
        """The key was revoked here: it stops at once in this process."""
        self._revoked += 1
        self._known = {digest: known for digest, known in self._known.items() if known.key.id != key_id}

    def _recognised(self, exchange: Exchange) -> _Known | None:
        known = self._known.get(_digest(exchange))
        if known is None or known.until < time.monotonic():
            return None
        if len(exchange.headers) != len(exchange.scope["headers"]):
            _token(exchange)  # some header came twice; it raises if it was this one
        return known

    async def _look_up(self, exchange: Exchange) -> _Known:
        text = _token(exchange).decode("ascii", "replace")
        key_id = api_key.key_id_of(text)
        if key_id is None:
            raise await self._wrong(exchange)
        revoked = self._revoked
        key, now = await exchange.ask(self._find, key_id)
        if not api_key.proves(text, key) or key is None or not key.usable(now):
            raise await self._wrong(exchange)
        left = min(CACHE_SECONDS, (key.expires_at - now).total_seconds() if key.expires_at else CACHE_SECONDS)
        known = _Known(key, time.monotonic() + left)
        if revoked == self._revoked:  # else perhaps this one, after it was read
            self._remember(_digest(exchange), known)
        return known

    def _find(self, key_id: str) -> tuple[ApiKey | None, datetime]:
        """In a thread: whoever asks for the time first may have to wait for the store."""
        return self._store.find_key(key_id), self._store.clock()

    def _remember(self, digest: bytes, known: _Known) -> None:
        now = time.monotonic()
        if len(self._known) >= MOST_CACHED:
            self._known = {d: k for d, k in self._known.items() if k.until > now}
            self._known.pop(next(iter(self._known), digest), None)
        self._known[digest] = known

    async def _wrong(self, exchange: Exchange) -> Refusal:
        """One answer for keys that are unknown, revoked or expired; another only for addresses that try too often."""
        standing = self._failures.take(await exchange.client())
        if not standing.taken:
            return _too_many("too many requests with a wrong API key", standing)
        return Refusal(403, Name.INVALID_API_KEY, "the API key is invalid")

    def _count(self, exchange: Exchange, key: ApiKey, rates: Buckets) -> None:
        standing = rates.take(key.id)
        for name, value in (
            (b"ratelimit-limit", rates.size),
            (b"ratelimit-remaining", standing.remaining),
            (b"ratelimit-reset", standing.full_in_seconds),
        ):
            exchange.added.append((name, b"%d" % value))
        exchange.added.append((b"ratelimit-policy", b"%d;w=1" % rates.size))
        if not standing.taken:
            raise _too_many("too many requests with this API key", standing)


def check_sender(sender: Address, key: ApiKey) -> None:
    """Raises `Refusal` where the key is bound to other sender domains."""
    if key.domains and domain_of(sender.addr) not in key.domains:
        problem = "this API key may not send from that domain"
        details = [{"member": "from", "message": problem}]
        raise Refusal(403, Name.VALIDATION_ERROR, f"from: {problem}", details=details)


def _digest(exchange: Exchange) -> bytes:
    return hashlib.sha256(exchange.headers.get(b"authorization", b"")).digest()


def _token(exchange: Exchange) -> bytes:
    values = exchange.all(b"authorization")
    scheme, _, token = values[0].strip().partition(b" ") if len(values) == 1 else (b"", b"", b"")
    if scheme.lower() != b"bearer" or not token.strip():
        raise Refusal(
            401,
            Name.MISSING_API_KEY,
            "the API key is missing; send it in one header: Authorization: Bearer KEY",
            headers={"www-authenticate": "Bearer"},
        )
    return token.strip()


def _too_many(message: str, standing: BucketState) -> Refusal:
    headers = {"retry-after": str(standing.next_in_seconds)}
    return Refusal(429, Name.RATE_LIMIT_EXCEEDED, f"{message}; try again later", headers=headers)
