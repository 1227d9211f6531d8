"""The sweep's work: publish what is due, recover lapsed claims, fail what is too old, delete what is done.

What needs a whole life is read, changed by the rules in `lifecycle`, and written unless anybody was quicker.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from postroom.mail import lifecycle
from postroom.mail.email import Lane, Life
from postroom.store.redis import records, scripts, times
from postroom.store.redis.records import Record
from postroom.store.redis.talk import Argument, Talk

_SECONDS = 1.0  # after which the rest is left to the next step


def due(
    talk: Talk, limit: int, *, now: datetime, wake_up_again_at: datetime, until: datetime
) -> Mapping[Lane, list[str]]:
    """Takes what the sweep shall publish now."""
    lanes = talk.run(scripts.DUE, times.to_ms(now), times.to_ms(wake_up_again_at), limit, times.to_ms(until))
    scheduled = [Record(*record) for _, waiting in lanes for record in waiting]
    _rewrite(talk, scheduled, lambda record: lifecycle.release(records.life_of(record), now=now), now, wake_up_again_at)
    return {lane: [one.decode() for one in ids] for lane, (ids, _) in zip(Lane, lanes, strict=True) if ids}


def recover(talk: Talk, limit: int, *, now: datetime, doubt_delay: timedelta, everything: bool) -> int:
    """Ends lapsed claims, or all."""

    def end(lapsed: Sequence[Record]) -> int:
        return _rewrite(talk, lapsed, lambda record: _after_lapse(record, now, doubt_delay), now)

    return _each(talk, "leases", "+inf" if everything else times.to_ms(now), limit, end)


def expire(talk: Talk, limit: int, *, now: datetime) -> int:
    """Fails what has waited past its deadline."""

    def fail(expired: Sequence[Record]) -> int:
        return _rewrite(talk, expired, lambda record: lifecycle.expire(records.life_of(record), now=now), now)

    return _each(talk, "deadlines", times.to_ms(now), limit, fail)


def prune(talk: Talk, limit: int, *, finished_before: datetime) -> int:
    """Deletes finished emails with all that belongs to them. Expired idempotency keys Redis deletes by itself."""
    before = times.to_ms(finished_before)

    def delete(finished: Sequence[Record]) -> int:
        arguments: list[Argument] = []
        for record in finished:
            terms = records.terms(records.email_of(record))
            arguments += [record.id, len(terms), *terms]
        pruned: int = talk.run(scripts.PRUNE, before, *arguments)
        return pruned

    return _each(talk, "finished", before - 1, limit, delete)


def _each(talk: Talk, index: str, highest: int | str, limit: int, work: Callable[[Sequence[Record]], int]) -> int:
    """Does the work on what the index has up to there, and returns on how many. A look goes through a few rows only, in
    which there may be one email each; so it looks again and again, as long as there is time."""
    count, more, began = 0, True, time.monotonic()
    while more and count < limit and time.monotonic() - began < _SECONDS:
        more, found = talk.run(scripts.PICK, index, highest, limit - count)
        done = work([Record(*record) for record in found]) if found else 0
        if found and not done:
            break  # others do the same
        count += done
    return count


def _rewrite(
    talk: Talk,
    found: Sequence[Record],
    step: Callable[[Record], Life],
    now: datetime,
    wake_up_at: datetime | None = None,
) -> int:
    """Writes the next lives of records that nobody has changed since; returns of how many."""
    if not found:
        return 0
    lives = [records.life_arguments(one.id, records.proof_of(one), step(one), wake_up_at) for one in found]
    arguments = [argument for life in lives for argument in life]
    return len(talk.run(scripts.LIVE, times.to_ms(now), "unchanged", *arguments, durable=True))


def _after_lapse(record: Record, now: datetime, doubt_delay: timedelta) -> Life:
    email, held = records.email_of(record), records.held(record.claim or b"")
    worker = held.worker.decode()
    if held.fenced != b"1":
        return lifecycle.lapse_before_fence(email.life, now=now, again_at=now, worker=worker)
    again_at, choice = now + doubt_delay, email.on_uncertain
    return lifecycle.lapse_after_fence(email.life, now=now, again_at=again_at, worker=worker, on_uncertain=choice)
