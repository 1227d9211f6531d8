"""The store port on MongoDB. Each method names its step, and says what trouble in it means: see `faults`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import pymongo

from postroom.mail.email import Status
from postroom.store.mongo import (
    claims,
    faults,
    keys,
    layout,
    listing,
    moves,
    pruning,
    reading,
    submission,
    taking,
    upkeep,
    uploads,
)
from postroom.store.mongo.connection import PATIENCE_SECONDS, Connection, Connections

_CLEARINGS = 20  # of ten abandoned uploads each
_PATIENCE_FOR_COUNTS_SECONDS = 10.0  # a million emails take about one; a frozen server is found out in four


P = ParamSpec("P")
T = TypeVar("T")


def _asking(step: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate["MongoStore", P], T]:
    """The method that takes this step, which writes nothing, or nothing before it is through."""
    return _method(step, faults.asking)


def _writing(step: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate["MongoStore", P], T]:
    """The method that takes this step, which writes at once."""
    return _method(step, faults.writing)


def _method(
    step: Callable[Concatenate[Connection, P], T], guard: faults.Guard
) -> Callable[Concatenate["MongoStore", P], T]:
    @wraps(step)
    def method(self: "MongoStore", /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._in_time(guard) as connection:
            return step(connection, *args, **kwargs)

    return method


class MongoStore:
    """Emails in MongoDB, for threads and processes. What each method promises is said in `store.base`."""

    def __init__(self, url: str, *, clock_sync_seconds: float = 10, lost_seconds: float = 60) -> None:
        """Names the database and connects to nothing yet: each process does so, after the fork, when it first asks.

        Raises `ValueError` with one clear sentence when it is no URL of MongoDB. The server's clock is looked at every
        `clock_sync_seconds`; claims without a lease are looked for every `lost_seconds`.
        """
        self._connections = Connections(url, clock_sync_seconds=clock_sync_seconds, lost_seconds=lost_seconds)
        self._backlog = reading.Backlog()

    def clock(self) -> datetime:
        """The server's time."""
        with faults.asking(self._connections.where):
            return self._connections.current().clock()

    def lapse_clock(self) -> datetime:
        """The server's time, set back or not."""
        with faults.asking(self._connections.where):
            return self._connections.current().clock.as_set()

    # -- submission ---------------------------------------------------------------------------------------------

    add = _asking(submission.add)
    replay = _asking(submission.replay)

    # -- delivery -----------------------------------------------------------------------------------------------

    claim = _writing(taking.claim)
    claim_due = _writing(taking.claim_due)
    renew = _writing(claims.renew)
    fence = _writing(claims.fence)
    settle = _writing(claims.settle)
    settle_late = _writing(claims.settle_late)
    attachments = _asking(reading.attachments)

    # -- upkeep -------------------------------------------------------------------------------------------------

    due = _writing(upkeep.due)
    recover = _writing(upkeep.recover)
    expire = _writing(upkeep.expire)
    _clear_uploads = _writing(uploads.clear)
    _prune = _writing(pruning.prune)

    def prune(self, limit: int, *, now: datetime, finished_before: datetime) -> int:
        """Deletes what ended long ago, and attachments whose emails never came, in steps that each have their time."""
        for _ in range(_CLEARINGS):
            if not self._clear_uploads(now):
                break
        return self._prune(limit, now=now, finished_before=finished_before)

    # -- reading and the moves by hand ----------------------------------------------------------------------------

    get = _asking(reading.get)
    get_many = _asking(reading.get_many)
    list = _asking(listing.page)
    cancel = _writing(moves.cancel)
    reschedule = _writing(moves.reschedule)
    retry = _writing(moves.retry)

    def counts(self) -> Mapping[Status, int]:
        """Counts all emails by status."""
        with self._in_time(faults.asking, patience_seconds=_PATIENCE_FOR_COUNTS_SECONDS) as connection:
            return reading.counts(connection)

    def backlog(self) -> int:
        """Counts unfinished emails."""
        with self._in_time(faults.asking) as connection:
            return self._backlog.count(connection)

    waiting_since = _asking(reading.waiting_since)

    # -- keys ------------------------------------------------------------------------------------------------------

    add_key = _writing(keys.add)
    find_key = _asking(keys.find)
    list_keys = _asking(keys.listed)
    revoke_key = _writing(keys.revoke)

    # -- housekeeping ------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Writes one small document, durably. It is there, unless the database was emptied meanwhile."""
        with self._in_time(faults.asking) as connection:
            if not layout.ping(connection.meta):
                connection.look_again()

    def close(self) -> None:
        """Closes this process's connection."""
        self._connections.close()

    @contextmanager
    def _in_time(self, guard: faults.Guard, *, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[Connection]:
        """This process's connection for one call that ends in time, one way or the other, its errors translated."""
        connection = self._connections.current()
        with guard(connection.where), pymongo.timeout(min(patience_seconds, connection.longest_patience_seconds)):
            yield connection
