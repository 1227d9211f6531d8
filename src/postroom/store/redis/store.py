"""The store port on one Redis. Each method names its operation, and whether it changes anything."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from postroom.errors import OutcomeUnknown, StoreError, StoreUnavailable
from postroom.mail import milliseconds
from postroom.mail.email import Lane
from postroom.store.base import Added, Claim, KeyReused, Submission
from postroom.store.redis import claims, keys, listing, moves, reading, server, submission, taking, upkeep
from postroom.store.redis.connections import Connections
from postroom.store.redis.doubts import Doubts
from postroom.store.redis.server import Durability
from postroom.store.redis.session import Session
from postroom.store.server_clock import ServerClock
from postroom.store.taking import Taking

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


def _reading(step: Callable[Concatenate[Session, P], T]) -> Callable[Concatenate["RedisStore", P], T]:
    """The method that takes this step, which changes nothing."""
    return _method(step, writing=False)


def _writing(step: Callable[Concatenate[Session, P], T]) -> Callable[Concatenate["RedisStore", P], T]:
    """The method that takes this step, which changes something, or must know that what it says is on disk."""
    return _method(step, writing=True)


def _method(step: Callable[Concatenate[Session, P], T], *, writing: bool) -> Callable[Concatenate["RedisStore", P], T]:
    @wraps(step)
    def method(self: "RedisStore", /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._connections.session(writing=writing) as session:
            return step(session, *args, **kwargs)

    return method


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

    replay = _writing(submission.replay)

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

    fence = _writing(claims.fence)
    settle = _writing(claims.settle)
    settle_late = _writing(claims.settle_late)
    attachments = _reading(reading.attachments)

    # -- upkeep -------------------------------------------------------------------------------------------------

    due = _writing(upkeep.due)
    recover = _writing(upkeep.recover)
    expire = _writing(upkeep.expire)

    def prune(self, limit: int, *, now: datetime, finished_before: datetime) -> int:
        """Deletes what ended long ago."""
        with self._connections.session(writing=True) as session:
            return upkeep.prune(session, limit, finished_before=finished_before)

    # -- reading and the moves by hand ----------------------------------------------------------------------------

    get = _reading(reading.get)
    get_many = _reading(reading.get_many)
    list = _reading(listing.page)
    cancel = _writing(moves.cancel)
    reschedule = _writing(moves.reschedule)
    retry = _writing(moves.retry)
    counts = _reading(reading.counts)
    backlog = _reading(reading.backlog)
    waiting_since = _reading(reading.waiting_since)

    # -- keys ------------------------------------------------------------------------------------------------------

    add_key = _writing(keys.add)
    find_key = _reading(keys.find)
    list_keys = _reading(keys.listed)
    revoke_key = _writing(keys.revoke)

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

    def _look_up(
        self, submissions: Sequence[Submission], now: datetime, deadline: float
    ) -> Sequence[Added | KeyReused] | None:
        try:
            with self._connections.session(writing=True, deadline=deadline) as session:
                return submission.look_up(session, submissions, now=now)
        except StoreError:
            return None
