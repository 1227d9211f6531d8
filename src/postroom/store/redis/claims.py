"""The claims of workers: kept, fenced and settled, many at once. How they are taken: see `taking`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from postroom.mail import lifecycle, milliseconds
from postroom.mail.email import Life
from postroom.store import unreadable
from postroom.store.base import Settlement
from postroom.store.redis import reading, records, scripts
from postroom.store.redis.records import Record
from postroom.store.redis.session import Session


def renew(session: Session, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> None:
    """Extends leases."""
    _hold(session, "renew", tokens, now, lease)


def fence(session: Session, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> set[str]:
    """Marks the claims that hold as fenced, durably, and extends their leases; returns their ids."""
    return _hold(session, "fence", tokens, now, lease)


def settle(session: Session, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
    """Writes new lives where the token still holds; brings the ids written."""
    return _live(session, "token", ((s.email_id, s.token, s.life) for s in settlements), now)


def settle_late(session: Session, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
    """Lets lives go on with these where the token was the last to lapse; brings the ids written."""
    found = zip(reading.read(session, [s.email_id for s in settlements]), settlements, strict=True)
    unheld = [(record, settlement) for record, settlement in found if record.state and record.claim is None]
    read = unreadable.readable(unheld, _after_late_success, lambda pair: pair[1].email_id)
    lives = [(s.email_id, s.token.encode() + b"\0" + record.life, life) for (record, s), life in read if life]
    return _live(session, "lapsed", lives, now)


def give_back(session: Session, due_at: Mapping[bytes, int], token: str) -> None:
    """Makes emails what they were before this claim, as far as it still holds; but each is due at that time."""
    pairs = [argument for pair in due_at.items() for argument in pair]
    session.run(scripts.GIVE_BACK, token, *pairs)


def _after_late_success(pair: tuple[Record, Settlement]) -> Life | None:
    return lifecycle.succeed_late(records.life_of(pair[0]), pair[1].life)


def _live(
    session: Session,
    condition: Literal["token", "lapsed"],
    lives: Iterable[tuple[str, str | bytes, Life]],
    now: datetime,
) -> set[str]:
    """Writes lives, each with its proof, on this condition; brings the ids written."""
    arguments = [argument for one in lives for argument in records.life_arguments(*one)]
    if not arguments:
        return set()
    written: list[bytes] = session.run(scripts.LIVE, milliseconds.of(now), condition, *arguments, durable=True)
    return {email_id.decode() for email_id in written}


def _hold(
    session: Session, purpose: Literal["renew", "fence"], tokens: Mapping[str, str], now: datetime, lease: timedelta
) -> set[str]:
    pairs = [argument for pair in tokens.items() for argument in pair]
    span, durable = (milliseconds.of(now), milliseconds.of(now + lease)), purpose == "fence"
    held: list[bytes] = session.run(scripts.HOLD, purpose, *span, *pairs, durable=durable)
    return {email_id.decode() for email_id in held}
