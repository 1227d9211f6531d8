"""The store port on one Redis. Each method names its operation, and whether it changes anything."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from postroom.errors import OutcomeUnknown, StoreError, StoreUnavailable
from postroom.mail import lifecycle, milliseconds
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
from postroom.store.redis import claims, keys, listing, moves, reading, server, submission, taking, upkeep
from postroom.store.redis.connections import Connections
from postroom.store.redis.doubts import Doubts
from postroom.store.redis.server import Durability
from postroom.store.server_clock import ServerClock
from postroom.store.taking import Taking

log = logging.getLogger(__name__)


class RedisStore:
    """Emails in one Redis server, for any number of threads, processes and hosts. What each method promises is said in
    `store.base`."""

    def __init__(self, url: str, *, durability: Durability = "strict") -> None:
        """Looks whether that Redis answers and keeps what it is given, and logs when it does not: each new connection
        looks again, and refuses one that is unfit. With `durability="relaxed"` what can be lost is only logged.
        Raises `ValueError` for what is no URL of Redis.
        """
        self._clock = ServerClock()
        self._connections = Connections(url, durability=durability, clock=self._clock)
        self._doubts = Doubts()
        try:
            found = self._connections.look()
            server.refuse_if_unfit(found, self._connections.address, durability)
        except StoreUnavailable as error:
            log.error("store unavailable", extra={"reason": str(error)})
            return
        if durability == "relaxed" and (losses := "; ".join(server.losses(found))):
            log.warning("store may lose emails", extra={"reason": f"Redis at {self._connections.address} {losses}"})

    def clock(self) -> datetime:
        """The server's time; asks for it only the first time."""
        self._learn_time()
        return self._clock()

    def lapse_clock(self) -> datetime:
        """The server's time, set back or not."""
        self._learn_time()
        return self._clock.as_set()

    # -- submission ---------------------------------------------------------------------------------------------

    def add(self, submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime) -> list[Added | KeyReused]:
        """Stores submissions with the emails in them."""
        deadline = self._connections.deadline()
        addition = submission.Addition(submissions, now=now, wake_up_at=wake_up_at)
        try:
            with self._connections.session(writing=True, asking=addition.questions, deadline=deadline) as session:
                return addition.carry_out(session)
        except OutcomeUnknown:
            answers = self._look_up(submissions, now, deadline)
            if answers is None:
                raise
            return list(answers)

    def replay(self, account: str, key: IdempotencyKey, *, now: datetime) -> str | None:
        """Finds the answer to an earlier submission."""
        with self._connections.session(writing=True) as session:
            return submission.replay(session, account, key, now=now)

    # -- delivery -----------------------------------------------------------------------------------------------

    def claim(self, ids: Sequence[str], *, worker: str, now: datetime, lease: timedelta) -> list[Claim]:
        """Claims those of the emails that may be claimed."""
        return taking.claim(self._connections, self._doubts, ids, Taking(worker=worker, now=now, lease=lease))

    def claim_due(
        self, limit: int, *, lowest: Lane = Lane.BULK, worker: str, now: datetime, lease: timedelta
    ) -> list[Claim]:
        """Claims what is due."""
        mine = Taking(worker=worker, now=now, lease=lease)
        return taking.claim_due(self._connections, self._doubts, limit, lowest, mine)

    def renew(self, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> None:
        """Extends leases."""
        with self._connections.session(writing=True) as session:
            claims.renew(session, tokens, now=now, lease=lease)
            if self._doubts:
                self._doubts.give_back(session, now=now)

    def fence(self, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> set[str]:
        """Marks claims as about to write the final dot."""
        with self._connections.session(writing=True) as session:
            return claims.fence(session, tokens, now=now, lease=lease)

    def settle(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        """Ends claims with new lives."""
        with self._connections.session(writing=True) as session:
            return claims.settle(session, settlements, now=now)

    def settle_late(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        """Writes outcomes after a fenced claim has lapsed."""
        with self._connections.session(writing=True) as session:
            return claims.settle_late(session, settlements, now=now)

    def attachments(self, email_id: str) -> list[bytes]:
        """Reads attachment contents."""
        with self._connections.session() as session:
            return reading.attachments(session, email_id)

    # -- upkeep -------------------------------------------------------------------------------------------------

    def due(
        self, limit: int, *, now: datetime, wake_up_again_at: datetime, published_until: datetime | None = None
    ) -> Mapping[Lane, list[str]]:
        """Takes what is to be published."""
        with self._connections.session(writing=True) as session:
            return upkeep.due(session, limit, now=now, wake_up_again_at=wake_up_again_at, until=published_until or now)

    def recover(self, limit: int, *, now: datetime, doubt_delay: timedelta, everything: bool = False) -> int:
        """Ends lapsed claims."""
        with self._connections.session(writing=True) as session:
            return upkeep.recover(session, limit, now=now, doubt_delay=doubt_delay, everything=everything)

    def expire(self, limit: int, *, now: datetime) -> int:
        """Fails what is past its deadline."""
        with self._connections.session(writing=True) as session:
            return upkeep.expire(session, limit, now=now)

    def prune(self, limit: int, *, now: datetime, finished_before: datetime) -> int:
        """Deletes what ended long ago."""
        with self._connections.session(writing=True) as session:
            return upkeep.prune(session, limit, finished_before=finished_before)

    # -- reading and the moves by hand ----------------------------------------------------------------------------

    def get(self, account: str, email_id: str) -> Email | None:
        """Reads one email."""
        with self._connections.session() as session:
            return reading.get(session, account, email_id)

    def get_many(self, wanted: Collection[AccountAndId]) -> Mapping[AccountAndId, Email]:
        """Reads several emails."""
        if not wanted:
            return {}
        with self._connections.session() as session:
            return reading.get_many(session, wanted)

    def list(self, query: Query) -> Page:
        """Reads a page of emails."""
        with self._connections.session() as session:
            return listing.page(session, query)

    def cancel(self, account: str, email_id: str, *, now: datetime) -> Email:
        """Cancels an email that waits."""
        return self._move(account, email_id, lambda life: lifecycle.cancel(life, now=now), now)

    def reschedule(self, account: str, email_id: str, at: datetime, *, now: datetime) -> Email:
        """Moves a scheduled email to another time."""
        return self._move(account, email_id, lambda life: lifecycle.reschedule(life, at, now=now), now)

    def retry(self, account: str, email_id: str, *, now: datetime, max_age: timedelta, wake_up_at: datetime) -> Email:
        """Queues an email anew."""
        return self._move(
            account, email_id, lambda life: lifecycle.retry(life, now=now, max_age=max_age), now, wake_up_at
        )

    def counts(self) -> Mapping[Status, int]:
        """Counts all emails by status."""
        with self._connections.session() as session:
            return reading.counts(session)

    def backlog(self) -> int:
        """Counts unfinished emails."""
        with self._connections.session() as session:
            return reading.backlog(session)

    def waiting_since(self, now: datetime) -> Mapping[Lane, datetime]:
        """Looks for the email of each lane that is due longest."""
        with self._connections.session() as session:
            return reading.waiting_since(session, now)

    # -- keys ------------------------------------------------------------------------------------------------------

    def add_key(self, key: ApiKey) -> None:
        """Stores an API key."""
        with self._connections.session(writing=True) as session:
            keys.add(session, key)

    def find_key(self, key_id: str) -> ApiKey | None:
        """Reads one API key."""
        with self._connections.session() as session:
            return keys.find(session, key_id)

    def list_keys(self, account: str | None = None) -> Sequence[ApiKey]:
        """Reads API keys."""
        with self._connections.session() as session:
            return keys.listed(session, account)

    def revoke_key(self, key_id: str, *, now: datetime) -> bool:
        """Revokes an API key."""
        with self._connections.session(writing=True) as session:
            return keys.revoke(session, key_id, now=now)

    # -- housekeeping ------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Writes, and sees that it reaches the disk."""
        with self._connections.session(writing=True) as session:
            session.write(("SET", "postroom:pulse", milliseconds.of(self._clock())), durable=True)

    def close(self) -> None:
        """Closes the connections, those in use at the end of their call."""
        self._connections.close()

    def _learn_time(self) -> None:
        if not self._clock.known:
            with self._connections.session():
                pass

    def _move(
        self,
        account: str,
        email_id: str,
        step: Callable[[Life], Life],
        now: datetime,
        wake_up_at: datetime | None = None,
    ) -> Email:
        with self._connections.session(writing=True) as session:
            return moves.make(session, account, email_id, step, now=now, wake_up_at=wake_up_at)

    def _look_up(
        self, submissions: Sequence[Submission], now: datetime, deadline: float
    ) -> Sequence[Added | KeyReused] | None:
        try:
            with self._connections.session(writing=True, deadline=deadline) as session:
                return submission.look_up(session, submissions, now=now)
        except StoreError:
            return None
