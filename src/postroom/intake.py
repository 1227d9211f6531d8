"""Stage 1, accept: makes submissions durable in groups, answers each, then has workers woken up.

The submissions that wait while one group is being written form the next group (group commit). Checking what a client
wrote is the API's part, waking up again what nobody claimed is the sweep's.
"""

import logging
import queue as waiting
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from postroom.errors import KeyBusy, OutcomeUnknown, StoreUnavailable
from postroom.mail.email import Lane, Status
from postroom.queue.publisher import Publisher
from postroom.store.base import Added, KeyReused, Store, Submission

log = logging.getLogger(__name__)

Result: TypeAlias = Added | KeyReused | Exception
"""What becomes of a submission; a `StoreError` in the place of an answer, or the unexpected."""

_Waiting: TypeAlias = tuple[Submission, Callable[[Result], None]]
"""A submission, and who takes what becomes of it."""

MOST_IN_A_GROUP = 1000  # emails; bounds how long the last of a group waits for the first
MOST_BYTES_IN_A_GROUP = 16 * 1024 * 1024  # of bodies and attachments; bounds how long one write takes, and how large


class Intake:
    """Takes submissions from any thread and commits them in groups from one thread of its own."""

    def __init__(self, *, store: Store, publisher: Publisher, linger: timedelta, wake_up_after: timedelta) -> None:
        self._store = store
        self._publisher = publisher
        self._linger_seconds = linger.total_seconds()
        self._wake_up_after = wake_up_after
        self._waiting: waiting.SimpleQueue[_Waiting | None] = waiting.SimpleQueue()
        self._left_over: _Waiting | None = None  # was too large for the last group
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Begins to commit."""
        self._thread.start()

    def submit(self, submission: Submission, answer: Callable[[Result], None]) -> None:
        """Queues a submission. `answer` is called in the intake's thread once it is durable, or was refused; it must
        neither wait nor raise."""
        self._waiting.put((submission, answer))

    @property
    def alive(self) -> bool:
        """Whether it still commits."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Commits what waits, then ends. No submission may follow. Does nothing if it was never started."""
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        crowded = False
        while group := self._next_group(linger=crowded):
            crowded = len(group) > 1
            self._commit(group)

    def _next_group(self, *, linger: bool) -> list[_Waiting]:
        """What waits now, and under load what comes in the next moment; empty at the end."""
        one, self._left_over = self._left_over or self._waiting.get(), None
        if linger and one is not None:
            time.sleep(self._linger_seconds)  # nobody has to wake this thread up for each that comes meanwhile
        group: list[_Waiting] = []
        emails = size = 0
        while one is not None:
            emails += len(one[0].emails)
            size += _bytes_of(one)
            if group and size > MOST_BYTES_IN_A_GROUP:
                self._left_over = one
                return group
            group.append(one)
            if emails >= MOST_IN_A_GROUP:
                return group
            try:
                one = self._waiting.get_nowait()
            except waiting.Empty:
                return group
        self._waiting.put(None)  # the end has come: for the next group
        return group

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            answers = self._add([submission for submission, _ in group], self._store.clock())
        except KeyBusy as error:
            self._commit_key_by_key(group, error)
        except (StoreUnavailable, OutcomeUnknown) as error:
            _refuse(group, error)
        except Exception as error:
            self._commit_one_by_one(group, error)
        else:
            self._publisher.publish(_fresh(group, answers))
            for (_, take), answer in zip(group, answers, strict=True):
                take(answer)

    def _commit_key_by_key(self, group: list[_Waiting], error: KeyBusy) -> None:
        """Others are using a key: only the submissions with that key are refused. Those without any stay together."""
        by_key: dict[object, list[_Waiting]] = {}
        for one in group:
            by_key.setdefault(_key_of(one), []).append(one)
        if len(by_key) == 1:
            _refuse(group, error)
            return
        for apart in by_key.values():
            self._commit(apart)

    def _commit_one_by_one(self, group: list[_Waiting], error: Exception) -> None:
        """One of the group cannot be stored at all: it must not take its neighbours with it."""
        if len(group) > 1:
            for one in group:
                self._commit([one])
            return
        log.error("unexpected error", exc_info=error)
        _fail(group, error)

    def _add(self, submissions: Sequence[Submission], now: datetime) -> list[Added | KeyReused]:
        return self._store.add(submissions, now=now, wake_up_at=now + self._wake_up_after)


def _bytes_of(one: _Waiting) -> int:
    """About how large it is: bodies in characters, attachments in bytes."""
    size = 0
    for email in one[0].emails:
        size += len(email.text or "") + len(email.html or "")
        if email.attachments:
            size += sum([attachment.size for attachment in email.attachments])
    return size


def _key_of(one: _Waiting) -> object:
    """What submissions with the same idempotency key have in common; None without one."""
    submission, key = one[0], one[0].idempotency
    return key and (submission.account, key.endpoint, key.key)


def _refuse(group: Sequence[_Waiting], error: StoreUnavailable | OutcomeUnknown) -> None:
    log.error("store unavailable", extra={"reason": str(error), "count": len(group)})
    _fail(group, error)


def _fail(group: Iterable[_Waiting], error: Exception) -> None:
    for _, take in group:
        take(error)


def _fresh(group: Sequence[_Waiting], answers: Sequence[Added | KeyReused]) -> Iterator[tuple[Lane, str]]:
    """Lane and id of what was stored just now and is due at once."""
    for (submission, _), answer in zip(group, answers, strict=True):
        if isinstance(answer, Added) and not answer.replayed:
            yield from ((e.lane, e.id) for e in submission.emails if e.life.status is Status.QUEUED)
