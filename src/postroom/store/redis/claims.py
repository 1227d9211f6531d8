"""The claims of workers: kept, fenced and settled, many at once. How they are taken: see `taking`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from postroom.mail import milliseconds
from postroom.store.base import Settlement
from postroom.store.redis import records, scripts
from postroom.store.redis.session import Session


def renew(session: Session, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> None:
    """Extends leases."""
    _hold(session, "renew", tokens, now, lease)


def fence(session: Session, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> set[str]:
    """Marks the claims that hold as fenced, durably, and extends their leases; returns their ids."""
    return _hold(session, "fence", tokens, now, lease)


def settle(
    session: Session, settlements: Sequence[Settlement], *, now: datetime, proof: Literal["token", "lapsed"] = "token"
) -> set[str]:
    """Writes new lives where the token still holds, or was the last to lapse. Brings the ids written."""
    arguments = [argument for s in settlements for argument in records.life_arguments(s.email_id, s.token, s.life)]
    written: list[bytes] = session.run(scripts.LIVE, milliseconds.of(now), proof, *arguments, durable=True)
    return {email_id.decode() for email_id in written}


def give_back(session: Session, due_at: Mapping[bytes, int], token: str) -> None:
    """Makes emails what they were before this claim, as far as it still holds; but each is due at that time."""
    pairs = [argument for pair in due_at.items() for argument in pair]
    session.run(scripts.GIVE_BACK, token, *pairs)


def _hold(
    session: Session, purpose: Literal["renew", "fence"], tokens: Mapping[str, str], now: datetime, lease: timedelta
) -> set[str]:
    pairs = [argument for pair in tokens.items() for argument in pair]
    span, durable = (milliseconds.of(now), milliseconds.of(now + lease)), purpose == "fence"
    held: list[bytes] = session.run(scripts.HOLD, purpose, *span, *pairs, durable=durable)
    return {email_id.decode() for email_id in held}
