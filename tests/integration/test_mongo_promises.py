"""What MongoStore promises is in the journals of a majority when it returns, and what it does not, costs no wait."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pymongo.monitoring
import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from postroom.mail.email import Email
from postroom.store.base import Store
from postroom.store.mongo import MongoStore
from tests import make
from tests.make import HOUR, LEASE, SECOND
from tests.promises import DECIDED, PROMISED, QUICK, Prepare

DURABLE = {"w": "majority", "j": True}
WRITES = {"insert", "update", "delete", "findAndModify", "commitTransaction"}

Concerns = list[tuple[str, object]]
"""What each write was done to, and with which write concern."""


class Writes(CommandListener):
    """Notes writes while it is asked to. One that is a part of a transaction counts as its commit."""

    def __init__(self) -> None:
        self._noted: Concerns | None = None

    def during(self, step: Callable[[], object]) -> Concerns:
        """What this step writes."""
        noted: Concerns = []
        self._noted = noted
        try:
            step()
        finally:
            self._noted = None
        return noted

    def started(self, event: CommandStartedEvent) -> None:
        if self._noted is None:
            return
        command: Any = event.command
        if event.command_name in WRITES and (event.command_name == "commitTransaction" or "autocommit" not in command):
            self._noted.append((str(command[event.command_name]), command.get("writeConcern")))

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.fixture(scope="module")
def listening() -> Writes:
    """One listener for the module: the driver never forgets any."""
    writes = Writes()
    pymongo.monitoring.register(writes)
    return writes


@pytest.fixture
def store(listening: Writes, mongodb_url: str) -> Iterator[MongoStore]:
    with closing(MongoStore(mongodb_url)) as store:
        yield store


@pytest.fixture
def written(listening: Writes, store: MongoStore) -> Callable[[Prepare], Concerns]:
    """Tells what the store writes while it does what it was prepared for."""
    return lambda prepare: listening.during(prepare(store))


def adding_much(store: Store) -> Callable[[], object]:
    """More than a transaction takes, so that a part of it comes before."""
    now = store.clock()
    large = make.email(now, attachments=(make.attachment(bytes(9 * 1024 * 1024)),))
    return lambda: make.stored(store, now, large)


def fencing_a_part(store: Store) -> Callable[[], object]:
    """One of two emails that were claimed together, while the lease of the other has ended."""
    now = store.clock()
    emails: list[Email] = make.stored(store, now, make.email(now), make.email(now))
    tokens = {claim.email.id: claim.token for claim in make.claimed(store, now, *emails)}
    held = {emails[0].id: tokens[emails[0].id]}
    store.renew(held, now=now, lease=HOUR)
    return lambda: _expect(store.fence(tokens, now=now + LEASE + SECOND, lease=LEASE), held.keys())


def _expect(found: object, expected: object) -> None:
    assert found == expected


ALL_PROMISED = {**PROMISED, "adding_much": adding_much, "fencing_a_part": fencing_a_part}


@pytest.mark.parametrize("prepare", ALL_PROMISED.values(), ids=ALL_PROMISED)
def test_promise_is_given_when_a_majority_has_it_on_disk(
    written: Callable[[Prepare], Concerns], prepare: Prepare
) -> None:
    concerns = written(prepare)
    assert concerns
    assert [(where, concern) for where, concern in concerns if concern != DURABLE] == []


@pytest.mark.parametrize("prepare", DECIDED.values(), ids=DECIDED)
def test_life_that_the_sweep_gives_an_email_is_written_durably(
    written: Callable[[Prepare], Concerns], prepare: Prepare
) -> None:
    assert [concern for where, concern in written(prepare) if where == "emails"] == [DURABLE]


@pytest.mark.parametrize("prepare", QUICK.values(), ids=QUICK)
def test_what_a_crash_may_forget_waits_for_no_majority(
    written: Callable[[Prepare], Concerns], prepare: Prepare
) -> None:
    concerns = written(prepare)
    assert concerns
    assert [(where, concern) for where, concern in concerns if concern != {"w": 1}] == []
