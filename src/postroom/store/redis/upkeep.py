"""The sweep's work: publish what is due, recover lapsed claims, fail what is too old, delete what is done.

What needs a whole life is read, changed by the rules in `lifecycle`, and written unless anybody was quicker.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, TypeAlias, TypeVar

from postroom.mail import lifecycle, milliseconds
from postroom.mail.email import Lane, Life
from postroom.store import unreadable
from postroom.store.redis import records, scripts
from postroom.store.redis.records import Record
from postroom.store.redis.session import Argument, Session

_SECONDS = 1.0  # after which the rest is left to the next step

Read = TypeVar("Read")
NewLife: TypeAlias = tuple[Record, Life]
"""A record, and the life that it is to have next."""


def due(
    session: Session, limit: int, *, now: datetime, wake_up_again_at: datetime, published_until: datetime | None = None
) -> Mapping[Lane, list[str]]:
    """Takes what the sweep shall publish now."""
    lanes = session.run(
        scripts.DUE,
        milliseconds.of(now),
        milliseconds.of(wake_up_again_at),
        limit,
        milliseconds.of(published_until or now),
    )
    scheduled = [Record(*record) for _, waiting, _ in lanes for record in waiting]
    released = records.readable(scheduled, lambda record: lifecycle.release(records.life_of(record), now=now))
    _rewrite(session, list(released), now, wake_up_again_at)
    return {
        lane: [one.decode() for one in ids]
        for lane, (ids, _, expired) in zip(Lane, lanes, strict=True)
        if ids or expired
    }


def recover(session: Session, limit: int, *, now: datetime, doubt_delay: timedelta, everything: bool = False) -> int:
    """Ends lapsed claims, or all."""
    lapsed = _Those("leases", "+inf" if everything else milliseconds.of(now), again_at=now + unreadable.PAUSE)
    reader = partial(_after_lapse, now=now, doubt_delay=doubt_delay)
    return _each(session, lapsed, limit, reader, lambda lives: _rewrite(session, lives, now))


def expire(session: Session, limit: int, *, now: datetime) -> int:
    """Fails what has waited past its deadline."""
    expired = _Those("deadlines", milliseconds.of(now), again_at=now + unreadable.PAUSE)

    def failed(record: Record) -> Life:
        return lifecycle.expire(records.life_of(record), now=now)

    return _each(session, expired, limit, failed, lambda lives: _rewrite(session, lives, now))


def prune(session: Session, limit: int, *, finished_before: datetime) -> int:
    """Deletes finished emails with all that belongs to them. Expired idempotency keys Redis deletes by itself."""
    before = milliseconds.of(finished_before)
    finished = _Those("finished", before - 1, again_at=finished_before + unreadable.PAUSE)

    def delete(old: Sequence[tuple[Record, list[str]]]) -> int:
        arguments: list[Argument] = []
        for record, terms in old:
            arguments += [record.id, len(terms), *terms]
        pruned: int = session.run(scripts.PRUNE, before, *arguments)
        return pruned

    def terms(record: Record) -> list[str]:
        records.since(record.state)  # the script must be able to read it
        return records.terms_of(record)

    return _each(session, finished, limit, terms, delete)


@dataclass(frozen=True, slots=True)
class _Those:
    """What an index has up to there; what of it cannot be read, that index has then at another time."""

    index: Literal["leases", "deadlines", "finished"]
    highest: int | str
    again_at: datetime


def _each(
    session: Session,
    those: _Those,
    limit: int,
    reader: Callable[[Record], Read],
    work: Callable[[Sequence[tuple[Record, Read]]], int],
) -> int:
    """Does the work on those that can be read, and returns on how many. A look goes through a few rows only, in which
    there may be one email each; so it looks again and again, as long as there is time."""
    again_at, unread = milliseconds.of(those.again_at), set[bytes]()
    count, more, began = 0, True, time.monotonic()
    while more and count < limit and time.monotonic() - began < _SECONDS:
        more, found = session.run(scripts.PICK, those.index, those.highest, limit - count, again_at, *unread)
        read = list(records.readable([Record(*record) for record in found], reader))
        done = work(read) if read else 0
        if read and not done:
            break  # others do the same
        count += done
        if len(read) < len(found):  # the next look passes over them
            unread |= {email_id for email_id, *_ in found} - {record.id for record, _ in read}
            more = True
    return count


def _rewrite(session: Session, lives: Sequence[NewLife], now: datetime, wake_up_at: datetime | None = None) -> int:
    """Writes the next lives of records that nobody has changed since; returns of how many."""
    if not lives:
        return 0
    arguments = [
        argument
        for record, life in lives
        for argument in records.life_arguments(record.id, records.proof_of(record), life, wake_up_at)
    ]
    return len(session.run(scripts.LIVE, milliseconds.of(now), "unchanged", *arguments, durable=True))


def _after_lapse(record: Record, *, now: datetime, doubt_delay: timedelta) -> Life:
    email, held = records.email_of(record), records.held(record.claim or b"")
    records.status_of(held.state)  # the script must be able to read it
    worker = held.worker.decode()
    if held.fenced != b"1":
        return lifecycle.lapse_before_fence(email.life, now=now, again_at=now, worker=worker)
    return lifecycle.lapse_after_fence(
        email.life,
        now=now,
        again_at=now + doubt_delay,
        worker=worker,
        on_uncertain=email.on_uncertain,
        max_attempts=email.max_attempts,
    )
