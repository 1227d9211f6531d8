"""The store port on one SQLite file. Each method names its operation and who runs it: the writer, or a reader."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from postroom.errors import StoreError, StoreUnavailable
from postroom.mail import milliseconds
from postroom.mail.email import Email, Lane, Status
from postroom.store.base import Added, Claim, KeyReused, Submission
from postroom.store.sqlite import claims, filesystem, keys, listing, moves, reading, schema, submission, upkeep
from postroom.store.sqlite.claims import Taken
from postroom.store.sqlite.clock import system_clock
from postroom.store.sqlite.lock import StoreLock
from postroom.store.sqlite.operation import Operation
from postroom.store.sqlite.readers import Readers
from postroom.store.sqlite.writer import Writer
from postroom.store.taking import Taking
from postroom.store.unreadable import PassedOver

_PRUNE_SLICE = 10  # emails; each may lead to a dozen pages all over the file, or to 30 MB of attachments
_KEYS_SLICE = 200  # idempotency keys; each lies on two pages somewhere in the file
_KEYS_SECONDS = 10.0  # of a minute; more keys go in that time than this store takes in a minute
_PULSE = "INSERT OR REPLACE INTO pulse (n, at) VALUES (1, ?)"


P = ParamSpec("P")
T = TypeVar("T")


def _written(step: Callable[P, Operation[T]]) -> Callable[Concatenate["SqliteStore", P], T]:
    """The method that has the writer run this step."""

    @wraps(step)
    def method(self: "SqliteStore", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._writer.run(step(*args, **kwargs))

    return method


def _read(step: Callable[P, Operation[T]]) -> Callable[Concatenate["SqliteStore", P], T]:
    """The method that has a reader run this step."""

    @wraps(step)
    def method(self: "SqliteStore", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._readers.run(step(*args, **kwargs))

    return method


class SqliteStore:
    """Emails in one SQLite file, for the threads of one process. What each method promises is said in `store.base`."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], datetime] = system_clock,
        patience: timedelta = timedelta(seconds=3),
        reserve_bytes: int = 32 * 1024 * 1024,
        network_too: bool = False,
    ) -> None:
        """Opens the file, or makes it. Raises `StoreLocked` when another process has it, else `StoreError`.

        A write waits no longer than `patience`. Submissions are refused while less than `reserve_bytes` are free on the
        disk or in the file, so that accepted emails can be finished. `network_too` permits a network file system.
        """
        self._path = path.resolve()
        self._clock = clock
        self._reserve_bytes = reserve_bytes
        filesystem.prepare(self._path, network_too=network_too)
        self._lock = StoreLock(self._path)
        try:
            connection = schema.open_writer(self._path)
        except BaseException:
            self._lock.release()
            raise
        self._identity = filesystem.identity(self._path)
        self._writer = Writer(connection, self._path, patience_seconds=patience.total_seconds())
        self._readers = Readers(self._path)
        self._passed_over = PassedOver()

    def clock(self) -> datetime:
        """The system's time."""
        return self._clock()

    def lapse_clock(self) -> datetime:
        """The same: all claims are made in this process."""
        return self._clock()

    # -- submission ---------------------------------------------------------------------------------------------

    def add(self, submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime) -> list[Added | KeyReused]:
        """Stores submissions with the emails in them."""
        self._refuse_without_room()
        return self._writer.run(submission.add(submissions, now=now, wake_up_at=wake_up_at))

    replay = _read(submission.replay)

    # -- delivery -----------------------------------------------------------------------------------------------

    def claim(self, ids: Sequence[str], *, worker: str, now: datetime, lease: timedelta) -> list[Claim]:
        """Claims those of the emails that may be claimed."""
        taking = Taking(worker=worker, now=now, lease=lease)
        claimed = self._claimed(claims.claim(ids, taking), taking)
        place = {email_id: position for position, email_id in enumerate(reversed(ids))}  # of one named twice, the first
        return sorted(claimed, key=lambda claim: place[claim.email.id], reverse=True)

    def claim_due(
        self, limit: int, *, lowest: Lane = Lane.BULK, worker: str, now: datetime, lease: timedelta
    ) -> list[Claim]:
        """Claims what is due."""
        taking = Taking(worker=worker, now=now, lease=lease)
        return list(self._claimed(claims.claim_due(limit, lowest, taking), taking))

    renew = _written(claims.renew)
    fence = _written(claims.fence)
    settle = _written(claims.settle)
    settle_late = _written(claims.settle_late)
    attachments = _read(reading.attachments)

    # -- upkeep -------------------------------------------------------------------------------------------------

    due = _written(upkeep.due)
    recover = _written(upkeep.recover)

    def expire(self, limit: int, *, now: datetime) -> int:
        """Fails what is past its deadline."""
        return self._writer.run(upkeep.expire(limit, now=now, passed_over=self._passed_over))

    def prune(self, limit: int, *, now: datetime, finished_before: datetime) -> int:
        """Deletes what ended long ago, and all keys that have expired, in slices between which others write."""
        began, more = time.monotonic(), True
        while more and time.monotonic() - began < _KEYS_SECONDS:
            more = self._writer.run(upkeep.prune_keys(_KEYS_SLICE, now=now)) == _KEYS_SLICE
        deleted = 0
        while deleted < limit:
            room = min(_PRUNE_SLICE, limit - deleted)
            count = self._writer.run(upkeep.prune(room, finished_before=finished_before))
            deleted += count
            if count < room:
                break
        return deleted

    # -- reading and the moves by hand ----------------------------------------------------------------------------

    get = _read(reading.get)
    get_many = _read(reading.get_many)
    list = _read(listing.page)
    cancel = _written(moves.cancel)
    reschedule = _written(moves.reschedule)
    retry = _written(moves.retry)

    def counts(self) -> Mapping[Status, int]:
        """Counts all emails by status."""
        return self._readers.run(reading.counts)

    def backlog(self) -> int:
        """Counts unfinished emails."""
        return self._readers.run(reading.backlog)

    waiting_since = _read(reading.waiting_since)

    # -- keys ------------------------------------------------------------------------------------------------------

    add_key = _written(keys.add)
    find_key = _read(keys.find)
    list_keys = _read(keys.listed)
    revoke_key = _written(keys.revoke)

    # -- housekeeping ------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Writes to the file, and sees that it is still in its place, and that there is room for submissions."""
        now = milliseconds.of(self.clock())
        self._writer.run(lambda connection: connection.execute(_PULSE, (now,)).close())
        if filesystem.identity(self._path) != self._identity:
            raise StoreUnavailable(f"{self._path} was moved or replaced while in use: put it back, or restart Postroom")
        self._refuse_without_room()

    def close(self) -> None:
        """Finishes waiting writes and closes the file."""
        self._readers.close()
        self._writer.close()
        self._lock.release()

    def _refuse_without_room(self) -> None:
        filesystem.refuse_without_room(
            self._path, self._reserve_bytes, unused_bytes=lambda: self._readers.run(reading.unused_bytes)
        )

    def _claimed(self, claim: Operation[Sequence[Taken]], taking: Taking) -> Sequence[Claim]:
        """Claims, then reads. A claim that its caller does not learn of would lapse as if its worker had crashed, and
        the third such fails the email; so it is given back."""
        give_back = partial(claims.give_back, token=taking.token)
        taken = self._writer.run(claim, undo=give_back)
        try:
            emails = self._read_claimed(claims.claimed(taken, taking.token)) if taken else {}
        except StoreError:
            self._writer.run_later(give_back(taken))
            raise
        if unread := [row for row in taken if row.n not in emails]:
            self._writer.run_later(claims.put_off(unread, taking))
        return [Claim(email=email, token=taking.token) for email in emails.values()]

    def _read_claimed(self, question: Operation[Mapping[int, Email]]) -> Mapping[int, Email]:
        try:
            return self._readers.run(question)
        except StoreUnavailable:  # too many open files, say; the writer needs no new one
            return self._writer.run(question)
