"""The sweep's work: publish what is due, recover lapsed claims, fail what is too old, delete what is done.

What needs a whole life is read, changed by the rules in `lifecycle`, and written unless anybody was quicker.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from postroom.mail import lifecycle
from postroom.mail.email import Lane, Life
from postroom.store.redis import records, scripts, times
from postroom.store.redis.records import SUMMARY, Record
from postroom.store.redis.talk import Argument, Talk


def due(talk: Talk, limit: int, *, now: datetime, wake_up_again_at: datetime) -> Mapping[Lane, list[str]]:
    """Takes what the sweep shall publish now."""
    lanes = talk.run(scripts.DUE, times.to_ms(now), times.to_ms(wake_up_again_at), limit, *SUMMARY)
    scheduled = [Record(*fields) for _, waiting in lanes for fields in waiting]
    _rewrite(talk, scheduled, lambda record: lifecycle.release(records.life_of(record), now=now), now, wake_up_again_at)
    return {lane: [one.decode() for one in ids] for lane, (ids, _) in zip(Lane, lanes, strict=True) if ids}


def recover(talk: Talk, limit: int, *, now: datetime, doubt_delay: timedelta, everything: bool) -> int:
    """Ends lapsed claims, or all."""
    lapsed = _pick(talk, "leases", "+inf" if everything else times.to_ms(now), limit)
    return _rewrite(talk, lapsed, lambda record: _after_lapse(record, now, doubt_delay), now)


def expire(talk: Talk, limit: int, *, now: datetime) -> int:
    """Fails what has waited past its deadline."""
    expired = _pick(talk, "deadlines", times.to_ms(now), limit)
    return _rewrite(talk, expired, lambda record: lifecycle.expire(records.life_of(record), now=now), now)


def prune(talk: Talk, limit: int, *, now: datetime, finished_before: datetime) -> int:
    """Deletes finished emails with all that belongs to them, and expired idempotency keys."""
    before = times.to_ms(finished_before)
    arguments: list[Argument] = []
    for record in _pick(talk, "finished", f"({before}", limit):
        terms = records.terms_of(record)
        arguments += [record.id, records.subject_of(record), len(terms), *terms]
    pruned: int = talk.run(scripts.PRUNE, times.to_ms(now), before, limit, *arguments)
    return pruned


def _pick(talk: Talk, index: str, highest: int | str, limit: int) -> list[Record]:
    return [Record(*fields) for fields in talk.read(scripts.PICK, index, highest, limit, *SUMMARY)]


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
    lives = [records.life_arguments(record.id, record.version, step(record), wake_up_at) for record in found]
    arguments = [argument for life in lives for argument in life]
    return len(talk.run(scripts.LIVE, times.to_ms(now), "version", *arguments, durable=True))


def _after_lapse(record: Record, now: datetime, doubt_delay: timedelta) -> Life:
    life, worker = records.life_of(record), (record.worker or b"").decode()
    if record.fenced != b"1":
        return lifecycle.lapse_before_fence(life, now=now, again_at=now, worker=worker)
    choice = records.on_uncertain_of(record)
    return lifecycle.lapse_after_fence(life, now=now, again_at=now + doubt_delay, worker=worker, on_uncertain=choice)
