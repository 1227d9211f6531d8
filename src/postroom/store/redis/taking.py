"""Claiming emails: Redis marks them, then they are read, in steps small enough to be read in time over a slow link.

A claim that nobody reads lapses as if its worker had crashed, and the third such fails the email. So what was marked
and could not be read is given back.
"""

import time
from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

from postroom.errors import StoreError
from postroom.mail.email import Lane
from postroom.store import milliseconds
from postroom.store.base import Claim
from postroom.store.redis import records, scripts
from postroom.store.redis.connections import Connections
from postroom.store.redis.records import BODIES, LIVES, SUBMITTED, Record
from postroom.store.redis.session import Session
from postroom.store.taking import Taking

_MOST_BYTES = 16 * 1024 * 1024  # of bodies, claimed by one call
_LAST_STEP_SECONDS = 1.4  # with less time left, no other step begins
_GIVING_BACK_SECONDS = 0.6  # are kept for that


class _Marked(NamedTuple):
    """Emails that have become claimed, and their claims as Redis keeps them."""

    ids: Sequence[bytes]
    claims: Sequence[bytes]

    @property
    def states(self) -> Sequence[bytes]:
        """What they were before."""
        return [records.held(claim).state for claim in self.claims]


def claim(connections: Connections, ids: Sequence[str], taking: Taking) -> list[Claim]:
    """Claims those of the emails that may be claimed."""
    return _claim(connections, ids, 0, taking)


def claim_due(connections: Connections, limit: int, lowest: Lane, taking: Taking) -> list[Claim]:
    """Claims what is due, lane by lane in the order of service."""
    lanes = [lane.value for lane in Lane]
    return _claim(connections, lanes[: lanes.index(lowest) + 1], limit, taking) if limit > 0 else []


def _claim(connections: Connections, named: Sequence[str], limit: int, taking: Taking) -> list[Claim]:
    """Claims step by step: of these ids, or in these lanes if there is a limit."""
    found: list[Claim] = []
    size, deadline = 0, connections.deadline()
    while named and (found == [] or (size < _MOST_BYTES and deadline - time.monotonic() > _LAST_STEP_SECONDS)):
        try:
            with connections.session(writing=True, deadline=deadline - _GIVING_BACK_SECONDS) as session:
                marked, named = _mark(session, named, limit - len(found) if limit else 0, taking)
                try:
                    read = _read(session, marked)
                except StoreError:
                    with connections.session(writing=True, deadline=deadline) as another:
                        _give_back(another, marked, taking)
                    raise
        except StoreError:
            if not found:
                raise
            break
        found += [Claim(email=email, token=taking.token) for _, email in records.readable(read, records.email_of)]
        size += sum(len(record.bodies or b"") for record in read)
        if limit and len(found) == limit:
            break
    return found


def _mark(session: Session, named: Sequence[str], limit: int, taking: Taking) -> tuple[_Marked, Sequence[str]]:
    """Brings also the ids or lanes that are left for another step."""
    who = milliseconds.of(taking.now), milliseconds.of(taking.until), taking.token, taking.worker
    done, *pairs = session.run(scripts.CLAIM, *who, limit, len(named), *named)
    return _Marked(pairs[::2], pairs[1::2]), named[done:]


def _read(session: Session, marked: _Marked) -> list[Record]:
    """The records of emails that nobody else changes now."""
    if not marked.ids:
        return []
    fields = session.ask_all([("HMGET", key, *marked.ids) for key in (LIVES, SUBMITTED, BODIES)])
    return list(map(Record, marked.ids, marked.claims, marked.states, *fields))


def _give_back(session: Session, marked: _Marked, taking: Taking) -> None:
    """Makes emails what they were before."""
    packed = session.ask("HMGET", LIVES, *marked.ids)
    before = [Record(*one, submitted=b"") for one in zip(marked.ids, repeat(None), marked.states, packed)]
    arguments = [
        argument
        for record, life in records.readable(before, records.life_of)
        for argument in records.life_arguments(record.id, taking.token, life)
    ]
    session.run(scripts.LIVE, milliseconds.of(taking.now), "token", *arguments)
