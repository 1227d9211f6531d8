"""Group reads: requests that wait together share a look-up, and notice nothing of each other."""

import asyncio
import sqlite3
import threading
from collections.abc import Collection, Coroutine, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from postroom.api.reads import MOST_IN_A_GROUP, Reads
from postroom.errors import EmailNotFound, StoreError, StoreUnavailable
from postroom.mail.email import Email
from postroom.store.base import AccountAndId
from postroom.store.sqlite import SqliteStore
from tests import make
from tests.make import ACCOUNT

WAIT_SECONDS = 10.0


class GatedStore(SqliteStore):
    """A store whose look-ups wait at a gate, and are counted."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.groups: list[int] = []

    def get_many(self, wanted: Collection[AccountAndId]) -> Mapping[AccountAndId, Email]:
        self.groups.append(len(wanted))
        self.reached.set()
        assert self.gate.wait(WAIT_SECONDS)
        return super().get_many(wanted)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[GatedStore]:
    with closing(GatedStore(tmp_path / "store.sqlite3")) as opened:
        yield opened
        opened.gate.set()


def stored(store: SqliteStore, count: int) -> list[Email]:
    now = store.clock()
    return make.stored(store, now, *(make.email(now) for _ in range(count)))


async def reached(store: GatedStore) -> None:
    assert await asyncio.to_thread(store.reached.wait, WAIT_SECONDS)


def one_read(reads: Reads, email_id: str, seconds: float = WAIT_SECONDS) -> Coroutine[None, None, Email]:
    return reads.read(ACCOUNT, email_id, seconds=seconds)


def test_those_who_wait_share_a_look_up_and_each_gets_its_own(store: GatedStore) -> None:
    emails = stored(store, 3 * MOST_IN_A_GROUP)
    [other] = make.stored(store, store.clock(), make.email(account="other"))

    async def read() -> None:
        reads = Reads(store)
        first = asyncio.create_task(one_read(reads, emails[0].id))
        await reached(store)
        rest = [asyncio.create_task(one_read(reads, email.id)) for email in emails]
        strangers = [asyncio.create_task(one_read(reads, one)) for one in (other.id, make.email_id(make.now()))]
        await asyncio.sleep(0)
        store.gate.set()
        assert await first == emails[0]
        assert await asyncio.gather(*rest) == emails
        assert [type(one) for one in await asyncio.gather(*strangers, return_exceptions=True)] == [EmailNotFound] * 2

    asyncio.run(read())
    assert store.groups == [1, MOST_IN_A_GROUP, MOST_IN_A_GROUP, MOST_IN_A_GROUP, 2]


def test_read_sees_what_was_stored_before_it_although_a_look_up_is_under_way(store: GatedStore) -> None:
    [early] = stored(store, 1)

    async def read() -> Email:
        reads = Reads(store)
        under_way = asyncio.create_task(one_read(reads, early.id))
        await reached(store)
        [late] = stored(store, 1)
        task = asyncio.create_task(one_read(reads, late.id))
        await asyncio.sleep(0)
        store.gate.set()
        await under_way
        return await task

    assert asyncio.run(read())


def test_email_that_cannot_be_read_is_no_trouble_to_its_neighbours(store: GatedStore, tmp_path: Path) -> None:
    emails = stored(store, 3)
    with closing(sqlite3.connect(tmp_path / "store.sqlite3")) as connection, connection:
        connection.execute("UPDATE emails SET timeline = 'x' WHERE id = ?", (emails[1].id,))
    store.gate.set()

    async def read() -> list[Email | BaseException]:
        reads = Reads(store)
        return await asyncio.gather(*(one_read(reads, email.id) for email in emails), return_exceptions=True)

    found = asyncio.run(read())
    assert (found[0], found[2]) == (emails[0], emails[2])
    assert isinstance(found[1], StoreError)


def test_slow_store_is_waited_for_so_long_and_those_after_it_are_served(store: GatedStore) -> None:
    [email] = stored(store, 1)

    async def read() -> Email:
        reads = Reads(store)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="slow"):
                await one_read(reads, email.id, 0.2)
        store.gate.set()
        while True:  # the look-up that was under way ends first
            try:
                return await one_read(reads, email.id, 0.2)
            except StoreUnavailable:
                continue

    assert asyncio.run(asyncio.wait_for(read(), WAIT_SECONDS)) == email
    assert len(store.groups) <= 3
