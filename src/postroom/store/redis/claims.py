"""The claims of workers: taken, kept, fenced and settled, many at once."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from postroom.mail.email import Lane
from postroom.store.base import Claim, Settlement
from postroom.store.redis import records, scripts, times
from postroom.store.redis.records import BODIES, LIVES, SUBMITTED, Record
from postroom.store.redis.talk import Argument, Talk


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """Who claims, when and for how long. Its token is new, and stands for all emails of one call."""

    worker: str
    now: datetime
    lease: timedelta
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """What the script wants to know."""
        return times.to_ms(self.now), times.to_ms(self.now + self.lease), self.token, self.worker


def claim(talk: Talk, ids: Sequence[str], taking: Taking) -> tuple[list[Claim], Sequence[str]]:
    """Claims those of the emails that may be claimed; brings also the ids that there was no room for in the answer."""
    done, claims = _take(talk, taking, 0, ids)
    return claims, ids[done:]


def claim_due(talk: Talk, limit: int, lowest: Lane, taking: Taking) -> list[Claim]:
    """Claims what is due, lane by lane in the order of service."""
    lanes = list(Lane)
    _, claims = _take(talk, taking, limit, [lane.value for lane in lanes[: lanes.index(lowest) + 1]])
    return claims


def renew(talk: Talk, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> None:
    """Extends leases."""
    _hold(talk, "renew", tokens, now, lease)


def fence(talk: Talk, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> set[str]:
    """Marks the claims that hold as fenced and extends their leases; brings their ids."""
    return _hold(talk, "fence", tokens, now, lease)


def settle(
    talk: Talk, settlements: Sequence[Settlement], *, now: datetime, proof: Literal["token", "lapsed"] = "token"
) -> set[str]:
    """Writes new lives where the token still holds, or was the last to lapse. Brings the ids written."""
    arguments = [argument for s in settlements for argument in records.life_arguments(s.email_id, s.token, s.life)]
    written: list[bytes] = talk.run(scripts.LIVE, times.to_ms(now), proof, *arguments, durable=True)
    return {email_id.decode() for email_id in written}


def _take(talk: Talk, taking: Taking, limit: int, named: Sequence[str]) -> tuple[int, list[Claim]]:
    done, *claimed = talk.run(scripts.CLAIM, *taking.arguments, limit, len(named), *named)
    ids, claims = claimed[::2], claimed[1::2]
    if not ids:
        return done, []
    fields = talk.ask_all([("HMGET", key, *ids) for key in (LIVES, SUBMITTED, BODIES)])  # nobody else changes them now
    states = [claim.split(b"\0", 5)[5] for claim in claims]
    found = map(Record, ids, claims, states, *fields)
    return done, [Claim(email=records.email_of(record), token=taking.token) for record in found]


def _hold(
    talk: Talk, purpose: Literal["renew", "fence"], tokens: Mapping[str, str], now: datetime, lease: timedelta
) -> set[str]:
    pairs = [argument for pair in tokens.items() for argument in pair]
    held: list[bytes] = talk.run(scripts.HOLD, purpose, times.to_ms(now), times.to_ms(now + lease), *pairs)
    return {email_id.decode() for email_id in held}
