"""In the middle of a call the primary changes, or is killed and back: what was written quickly before is forgotten, and
what comes after is kept. No email falls in between."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest
from pymongo import monitoring
from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

from postroom.errors import StoreError, WrongState
from postroom.mail.email import Email, Status
from postroom.store.base import Claim
from postroom.store.mongo import MongoStore
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND
from tests.servers.mongodb import MongoDB

Document = dict[str, Any]


class Interruption(monitoring.CommandListener):
    """Does something once, between the answer to a command and what its caller does next."""

    def __init__(self) -> None:
        self._command = ""
        self._to_pass = 0
        self.was_durable = False  # that command
        self._action: Callable[[], object] | None = None

    def after(self, command: str, action: Callable[[], object], *, passed_over: int = 0) -> None:
        """Arms it for the next such command but so many, by whomever in this process."""
        self._command, self._action, self._to_pass = command, action, passed_over

    def started(self, event: CommandStartedEvent) -> None:
        """Too early to do anything."""
        if event.command_name == self._command:
            self.was_durable = event.command.get("writeConcern", {}).get("w") == "majority"

    def failed(self, event: CommandFailedEvent) -> None:
        """It was not carried out."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """The caller waits for this method."""
        if event.command_name != self._command or not self._action:
            return
        self._to_pass -= 1
        if self._to_pass < 0:
            action, self._action = self._action, None
            apart = Thread(target=action)  # where the caller's deadline does not count
            apart.start()
            apart.join()


INTERRUPTION = Interruption()
monitoring.register(INTERRUPTION)  # there is no other way into a client that is not made here


class Upset:
    """What an election after a crash does to a database, between the answer to a command and what its caller does next:
    writes that were not durable are forgotten. Here in milliseconds, for a crash takes its server a second or more."""

    def __init__(self, server: MongoDB, database: str) -> None:
        self._server = server
        self._database = database
        self._kept: dict[str, list[Document]] = {}

    def after(self, command: str, then: Callable[[], object] | None = None, *, passed_over: int = 0) -> None:
        """To come after the next such command but so many; what is written from now on will be forgotten, unless that
        command is durable."""
        with self._server.client() as client:
            self._kept = {name: list(client[self._database][name].find()) for name in ("emails", "leases")}
        INTERRUPTION.after(command, lambda: self._come(then), passed_over=passed_over)

    def _come(self, then: Callable[[], object] | None) -> None:
        with self._server.client() as client:
            for name, documents in ({} if INTERRUPTION.was_durable else self._kept).items():
                client[self._database][name].delete_many({})
                if documents:
                    client[self._database][name].insert_many(documents)
            client.admin.command("replSetStepDown", 60, force=True)
            client.admin.command("replSetFreeze", 0)  # the only member stands for election at once
            while not client.admin.command("hello")["isWritablePrimary"]:
                time.sleep(0.01)
        if then:
            then()


@pytest.fixture
def database() -> str:
    return f"primary_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def upset(own_mongodb: MongoDB, database: str) -> Upset:
    return Upset(own_mongodb, database)


@pytest.fixture
def store(own_mongodb: MongoDB, database: str) -> Iterator[MongoStore]:
    store = MongoStore(own_mongodb.url(database))
    yield store
    store.close()


@pytest.fixture
def other(own_mongodb: MongoDB, database: str) -> Iterator[MongoStore]:
    """The store as another process sees it."""
    store = MongoStore(own_mongodb.url(database))
    store.ping()
    yield store
    store.close()


def stored(store: MongoStore, email: Email) -> Email:
    make.stored(store, store.clock(), email)
    return email


def status(store: MongoStore, email: Email) -> Status:
    found = store.get(ACCOUNT, email.id)
    assert found
    return found.life.status


def fenced(store: MongoStore, claim: Claim) -> bool:
    """Whether the worker with this claim may write the final dot."""
    return bool(store.fence({claim.email.id: claim.token}, now=store.clock(), lease=HOUR))


def test_claim_that_was_forgotten_does_not_hold(store: MongoStore, other: MongoStore, upset: Upset) -> None:
    email = stored(store, make.email(store.clock()))
    claims: list[Claim] = []
    upset.after("update")
    with suppress(StoreError):
        claims += store.claim([email.id], worker="w1", now=store.clock(), lease=LEASE)
    [again] = make.claimed(other, other.clock(), email)
    assert fenced(other, again)
    assert not any(fenced(store, claim) for claim in claims)
    assert other.settle([make.sent(again, other.clock())], now=other.clock()) == {email.id}


@pytest.mark.parametrize("count", [1, 2])  # the last bar of a step is durable, and those before it by it
def test_worker_stays_barred_from_what_is_recovered(
    store: MongoStore, other: MongoStore, upset: Upset, count: int
) -> None:
    emails = [stored(store, make.email(store.clock())) for _ in range(count)]
    claims = [claim for email in emails for claim in make.claimed(store, store.clock(), email)]
    upset.after("update")
    with suppress(StoreError):
        other.recover(count, now=other.clock() + LEASE + SECOND, doubt_delay=SECOND)
    store.renew({claim.email.id: claim.token for claim in claims}, now=store.clock(), lease=LEASE)
    may_send = {claim.email.id for claim in claims if fenced(store, claim)}
    assert may_send <= {email.id for email in emails if status(store, email) is Status.SENDING}
    other.recover(9, now=other.clock() + 2 * HOUR, doubt_delay=SECOND)
    assert [status(store, email) for email in emails] == [Status.QUEUED] * count or may_send
    assert not any(fenced(store, claim) for claim in claims)


def test_email_that_was_claimed_meanwhile_is_not_called_back(
    store: MongoStore, other: MongoStore, upset: Upset
) -> None:
    """Its release was read and then forgotten; the claim that came instead is as many changes from its beginning."""
    due = store.clock() + SECOND
    email = stored(store, make.scheduled(due - SECOND, due))
    claims: list[Claim] = []
    upset.after("find", lambda: claims.extend(make.claimed(other, due, email)), passed_over=3)
    assert other.due(9, now=due, wake_up_again_at=due + HOUR)
    with suppress(StoreError, WrongState):
        store.cancel(ACCOUNT, email.id, now=due)
    assert [fenced(other, claim) for claim in claims] == [status(store, email) is Status.SENDING]
