"""The store port on MongoDB. Each method names its step, and says what trouble in it means: see `faults`."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from functools import partial

import pymongo

from postroom.mail import lifecycle
from postroom.mail.api_key import ApiKey
from postroom.mail.email import Email, Lane, Life, Status
from postroom.store.base import (
    AccountAndId,
    Added,
    Claim,
    IdempotencyKey,
    KeyReused,
    Page,
    Query,
    Settlement,
    Submission,
)
from postroom.store.mongo import (
    claims,
    faults,
    keys,
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


class MongoStore:
    """Emails in MongoDB, for threads and processes. What each method promises is said in `store.base`."""

    def __init__(self, url: str, *, clock_sync_seconds: float = 10, lost_seconds: float = 60) -> None:
        """Names the database and connects to nothing yet: each process does so, after the fork, when it first asks.

        Raises `ValueError` with one clear sentence when it is no URL of MongoDB. The server's clock is looked at every
        `clock_sync_seconds`; claims without a lease are looked for every `lost_seconds`.
        """
        self._lost_seconds = lost_seconds
        self._connections = Connections(url, clock_sync_seconds=clock_sync_seconds)
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

    def add(self, submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime) -> list[Added | KeyReused]:
        """Stores submissions with the emails in them."""
        with self._in_time(faults.asking) as connection:
            return submission.add(connection, submissions, now=now, wake_up_at=wake_up_at)

    def replay(self, account: str, key: IdempotencyKey, *, now: datetime) -> str | None:
        """Finds the answer to an earlier submission."""
        with self._in_time(faults.asking) as connection:
            return submission.replay(connection, account, key, now=now)

    # -- delivery -----------------------------------------------------------------------------------------------

    def claim(self, ids: Sequence[str], *, worker: str, now: datetime, lease: timedelta) -> list[Claim]:
        """Claims those of the emails that may be claimed."""
        with self._in_time(faults.writing) as connection:
            return taking.claim(connection, ids, taking.TimedTaking(worker=worker, now=now, lease=lease))

    def claim_due(
        self, limit: int, *, lowest: Lane = Lane.BULK, worker: str, now: datetime, lease: timedelta
    ) -> list[Claim]:
        """Claims what is due."""
        with self._in_time(faults.writing) as connection:
            return taking.claim_due(connection, limit, lowest, taking.TimedTaking(worker=worker, now=now, lease=lease))

    def renew(self, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> None:
        """Extends leases."""
        with self._in_time(faults.writing) as connection:
            claims.renew(connection, tokens, now=now, lease=lease)

    def fence(self, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> set[str]:
        """Marks claims as about to write the final dot."""
        with self._in_time(faults.writing) as connection:
            return claims.fence(connection, tokens, now=now, lease=lease)

    def settle(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        """Ends claims with new lives."""
        with self._in_time(faults.writing) as connection:
            return claims.settle(connection, settlements, now=now)

    def settle_late(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        """Writes outcomes after a fenced claim has lapsed."""
        with self._in_time(faults.writing) as connection:
            return claims.settle_late(connection, settlements, now=now)

    def attachments(self, email_id: str) -> list[bytes]:
        """Reads attachment contents."""
        with self._in_time(faults.asking) as connection:
            return reading.attachments(connection, email_id)

    # -- upkeep -------------------------------------------------------------------------------------------------

    def due(
        self, limit: int, *, now: datetime, wake_up_again_at: datetime, published_until: datetime | None = None
    ) -> Mapping[Lane, list[str]]:
        """Takes what is to be published."""
        with self._in_time(faults.writing) as connection:
            return upkeep.due(
                connection, limit, now=now, wake_up_again_at=wake_up_again_at, until=published_until or now
            )

    def recover(self, limit: int, *, now: datetime, doubt_delay: timedelta, everything: bool = False) -> int:
        """Ends lapsed claims."""
        with self._in_time(faults.writing) as connection:
            return upkeep.recover(
                connection,
                limit,
                now=now,
                doubt_delay=doubt_delay,
                everything=everything,
                lost_seconds=self._lost_seconds,
            )

    def expire(self, limit: int, *, now: datetime) -> int:
        """Fails what is past its deadline."""
        with self._in_time(faults.writing) as connection:
            return upkeep.expire(connection, limit, now=now)

    def prune(self, limit: int, *, now: datetime, finished_before: datetime) -> int:
        """Deletes what ended long ago, and attachments whose emails never came."""
        for _ in range(_CLEARINGS):
            with self._in_time(faults.writing) as connection:
                if not uploads.clear(connection, now):
                    break
        with self._in_time(faults.writing) as connection:
            return pruning.prune(connection, limit, now=now, finished_before=finished_before)

    # -- reading and the moves by hand ----------------------------------------------------------------------------

    def get(self, account: str, email_id: str) -> Email | None:
        """Reads one email."""
        with self._in_time(faults.asking) as connection:
            return reading.get(connection, account, email_id)

    def get_many(self, wanted: Collection[AccountAndId]) -> Mapping[AccountAndId, Email]:
        """Reads several emails."""
        with self._in_time(faults.asking) as connection:
            return reading.get_many(connection, wanted)

    def list(self, query: Query) -> Page:
        """Reads a page of emails."""
        with self._in_time(faults.asking) as connection:
            return listing.page(connection, query)

    def cancel(self, account: str, email_id: str, *, now: datetime) -> Email:
        """Cancels an email that waits."""
        return self._move(account, email_id, partial(lifecycle.cancel, now=now), now)

    def reschedule(self, account: str, email_id: str, at: datetime, *, now: datetime) -> Email:
        """Moves a scheduled email to another time."""
        return self._move(account, email_id, partial(lifecycle.reschedule, at=at, now=now), now)

    def retry(self, account: str, email_id: str, *, now: datetime, max_age: timedelta, wake_up_at: datetime) -> Email:
        """Queues an email anew."""
        again = partial(lifecycle.retry, now=now, max_age=max_age)
        return self._move(account, email_id, again, now, wake_up_at)

    def counts(self) -> Mapping[Status, int]:
        """Counts all emails by status."""
        with self._in_time(faults.asking, patience_seconds=_PATIENCE_FOR_COUNTS_SECONDS) as connection:
            return reading.counts(connection)

    def backlog(self) -> int:
        """Counts unfinished emails."""
        with self._in_time(faults.asking) as connection:
            return self._backlog.count(connection)

    def waiting_since(self, now: datetime) -> Mapping[Lane, datetime]:
        """Looks for the email of each lane that is due longest."""
        with self._in_time(faults.asking) as connection:
            return reading.waiting_since(connection, now)

    # -- keys ------------------------------------------------------------------------------------------------------

    def add_key(self, key: ApiKey) -> None:
        """Stores an API key."""
        with self._in_time(faults.writing) as connection:
            keys.add(connection, key)

    def find_key(self, key_id: str) -> ApiKey | None:
        """Reads one API key."""
        with self._in_time(faults.asking) as connection:
            return keys.find(connection, key_id)

    def list_keys(self, account: str | None = None) -> Sequence[ApiKey]:
        """Reads API keys."""
        with self._in_time(faults.asking) as connection:
            return keys.listed(connection, account)

    def revoke_key(self, key_id: str, *, now: datetime) -> bool:
        """Revokes an API key."""
        with self._in_time(faults.writing) as connection:
            return keys.revoke(connection, key_id, now=now)

    # -- housekeeping ------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Writes one small document, durably."""
        with self._in_time(faults.asking) as connection:
            connection.meta.update_one({"_id": "ping"}, {"$currentDate": {"at": True}}, upsert=True)

    def close(self) -> None:
        """Closes this process's connection."""
        self._connections.close()

    def _move(
        self,
        account: str,
        email_id: str,
        step: Callable[[Life], Life],
        now: datetime,
        wake_up_at: datetime | None = None,
    ) -> Email:
        with self._in_time(faults.writing) as connection:
            return moves.make(connection, account, email_id, step, now=now, wake_up_at=wake_up_at)

    @contextmanager
    def _in_time(
        self, guard: Callable[[str], AbstractContextManager[None]], *, patience_seconds: float = PATIENCE_SECONDS
    ) -> Iterator[Connection]:
        """This process's connection for one call that ends in time, one way or the other, its errors translated."""
        connection = self._connections.current()
        with guard(connection.where), pymongo.timeout(min(patience_seconds, connection.longest_patience_seconds)):
            yield connection
