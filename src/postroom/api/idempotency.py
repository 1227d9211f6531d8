"""The client's word for "same request": the key from the header, the fingerprint of the payload."""

import hashlib
from datetime import datetime, timedelta

import orjson

from postroom.api.errors import Name, Refusal
from postroom.api.exchange import Exchange
from postroom.mail.email import Json
from postroom.store.base import IdempotencyKey

LONGEST_KEY = 256


def key_of(exchange: Exchange) -> str | None:
    """The key of this request, None when it has none. Raises `Refusal` for one that is not 1 to 256 printable ASCII
    characters, and for two."""
    values = exchange.all(b"idempotency-key")
    if not values:
        return None
    key = values[0].decode("latin-1")
    if len(values) > 1 or not 1 <= len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        message = f"Idempotency-Key must be given once, with 1 to {LONGEST_KEY} printable ASCII characters"
        raise Refusal(400, Name.INVALID_IDEMPOTENCY_KEY, message)
    return key


def bind(
    key: str | None, payload: Json, *, endpoint: str, mode: str, now: datetime, hours: float
) -> IdempotencyKey | None:
    """The key with what it stands for. Payloads are equal when they are the same JSON values, asked for in one mode."""
    if key is None:
        return None
    canonical = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS, default=_canonical)
    fingerprint = hashlib.sha256(mode.encode() + b"\n" + canonical).hexdigest()
    return IdempotencyKey(endpoint=endpoint, key=key, fingerprint=fingerprint, expires_at=now + timedelta(hours=hours))


def reused() -> Refusal:
    """409: the key stands for another payload."""
    message = "this Idempotency-Key was used with another payload; nothing was sent"
    return Refusal(409, Name.INVALID_IDEMPOTENT_REQUEST, message)


def _canonical(number: object) -> float | int:
    """1.0 is 1; orjson asks for nothing but numbers with a fraction (`strict_json.JsonFloat`)."""
    assert isinstance(number, float)
    return int(number) if number.is_integer() and abs(number) < 2**63 else float(number)
