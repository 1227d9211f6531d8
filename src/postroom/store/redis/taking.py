"""Claiming emails: Redis marks them, then they are read, in steps small enough to be read in time over a slow link.

What was marked, or may have been, and did not arrive is given back: see `doubts`. So is what arrived and makes no
sense; it is due again after a pause.
"""

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from postroom.errors import OutcomeUnknown, StoreError
from postroom.mail import milliseconds
from postroom.mail.email import Email, Lane
from postroom.store import unreadable
from postroom.store.base import Claim
from postroom.store.redis import claims, records, scripts
from postroom.store.redis.connections import Connections
from postroom.store.redis.doubts import Doubts
from postroom.store.redis.records import BODIES, LIVES, SUBMITTED, Record
from postroom.store.redis.session import Session
from postroom.store.taking import Taking

_MOST_BYTES = 16 * 1024 * 1024  # of bodies, claimed by one call
_LAST_STEP_SECONDS = 1.4  # with less time left, no step begins
_GIVING_BACK_SECONDS = 0.6  # are kept for that


class _Marked(NamedTuple):
    """Emails that have become claimed, and their claims as Redis keeps them; b"" where the state makes no sense."""

    ids: Sequence[bytes]
    claims: Sequence[bytes]

    @property
    def states(self) -> Sequence[bytes]:
        """What they were before."""
        return [claim.split(b"\0", 5)[-1] for claim in self.claims]


def claim(connections: Connections, doubts: Doubts, ids: Sequence[str], taking: Taking) -> list[Claim]:
    """Claims those of the emails that may be claimed."""
    return _claim(connections, doubts, ids, 0, taking)


def claim_due(connections: Connections, doubts: Doubts, limit: int, lowest: Lane, taking: Taking) -> list[Claim]:
    """Claims what is due, lane by lane in the order of service."""
    lanes = [lane.value for lane in Lane]
    return _claim(connections, doubts, lanes[: lanes.index(lowest) + 1], limit, taking) if limit > 0 else []


def _claim(connections: Connections, doubts: Doubts, named: Sequence[str], limit: int, taking: Taking) -> list[Claim]:
    """Claims step by step: of these ids, or in these lanes if there is a limit."""
    found: list[Claim] = []
    size, deadline = 0, connections.deadline()
    if doubts:
        _give_back(connections, doubts, taking, deadline - _GIVING_BACK_SECONDS)
    while named and size < _MOST_BYTES and deadline - time.monotonic() > _LAST_STEP_SECONDS:
        try:
            with connections.session(writing=True, deadline=deadline - _GIVING_BACK_SECONDS) as session:
                with doubts.added(taking, after=OutcomeUnknown):
                    marked, named = _mark(session, named, limit - len(found) if limit else 0, taking)
                with doubts.added(taking, after=StoreError):
                    read = _read(session, marked)
                    emails = _understood(session, read, taking)
        except StoreError:
            if doubts:
                with suppress(StoreError):
                    _give_back(connections, doubts, taking, deadline)
            if not found:
                raise
            break
        found += [Claim(email=email, token=taking.token) for email in emails]
        size += sum(len(record.bodies or b"") for record in read)
        if not named or (limit and len(found) == limit):
            break
        taking = replace(taking, token=uuid.uuid4().hex)  # what has arrived is not given back with a later step
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


def _understood(session: Session, read: Sequence[Record], taking: Taking) -> list[Email]:
    """The emails of these records. Those that cannot be read are given back."""
    emails = {record.id: email for record, email in records.readable(read, records.email_of)}
    again_at = milliseconds.of(taking.now + unreadable.PAUSE)
    put_off = {record.id: again_at for record in read if record.claim and record.id not in emails}
    if put_off:
        claims.give_back(session, put_off, taking.token)
    return list(emails.values())


def _give_back(connections: Connections, doubts: Doubts, taking: Taking, deadline: float) -> None:
    """Gives back what is in doubt, if Redis can be told in time; else a later call does."""
    with connections.session(writing=True, deadline=deadline) as session:
        doubts.give_back(session, now=taking.now)
