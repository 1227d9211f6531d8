"""A store whose changes are counted, whichever it is."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from postroom import metrics
from postroom.mail import email_ids
from postroom.mail.email import Life, Status
from postroom.metrics import Numbers
from postroom.store.base import Added, KeyReused, Settlement, Store, Submission


def counted(store: Store, numbers: Numbers) -> Store:
    """The same store; what it has changed is counted once it is done."""
    return cast(Store, _Counted(store, numbers))


class _Counted:
    """Counts what passes. Methods that are not here are the store's own."""

    def __init__(self, store: Store, numbers: Numbers) -> None:
        self._store = store
        self._numbers = numbers

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._store, name)
        setattr(self, name, own)  # so that it is looked for once
        return own

    def add(self, submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime) -> list[Added | KeyReused]:
        answers = self._store.add(submissions, now=now, wake_up_at=wake_up_at)
        for submission, answer in zip(submissions, answers, strict=True):
            if isinstance(answer, Added) and not answer.replayed:
                for email in submission.emails:
                    self._numbers.add(metrics.ACCEPTED, email.lane)
        return answers

    def settle(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        return self._settled(settlements, self._store.settle(settlements, now=now))

    def settle_late(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        return self._settled(settlements, self._store.settle_late(settlements, now=now))

    def _settled(self, settlements: Sequence[Settlement], written: set[str]) -> set[str]:
        for settlement in settlements:
            if settlement.email_id in written:
                life = settlement.life
                self._numbers.add(metrics.SETTLED, life.status)
                if life.status is Status.SENT and life.sent_at:
                    seconds = life.sent_at.timestamp() - _began(settlement.email_id, life)
                    self._numbers.observe(metrics.SENT_AFTER, seconds=max(seconds, 0.0))
        return written

    def recover(self, limit: int, *, now: datetime, doubt_delay: timedelta, everything: bool = False) -> int:
        done = self._store.recover(limit, now=now, doubt_delay=doubt_delay, everything=everything)
        self._numbers.add(metrics.RECOVERED, count=done)
        return done

    def expire(self, limit: int, *, now: datetime) -> int:
        done = self._store.expire(limit, now=now)
        self._numbers.add(metrics.EXPIRED, count=done)
        return done

    def prune(self, limit: int, *, now: datetime, finished_before: datetime) -> int:
        done = self._store.prune(limit, now=now, finished_before=finished_before)
        self._numbers.add(metrics.PRUNED, count=done)
        return done


def _began(email_id: str, life: Life) -> float:
    """When the email was to be sent at the earliest, in seconds since 1970."""
    accepted_at = email_ids.accepted_at(email_id)
    return max(accepted_at, life.scheduled_at.timestamp()) if life.scheduled_at else accepted_at
