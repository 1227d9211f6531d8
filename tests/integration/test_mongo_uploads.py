"""Attachments that are too large for a transaction: all are accepted, and none is left behind without its email."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from postroom.errors import StoreError, StoreUnavailable
from postroom.mail.email import Email
from postroom.store.mongo import MongoStore
from tests import make
from tests.make import ACCOUNT, HOUR
from tests.servers import mongodb as servers
from tests.servers.link import Link
from tests.servers.mongodb import MongoDB

LARGE = bytes(9 * 1024 * 1024)
MINUTES = timedelta(minutes=2)
OF_THE_TRANSACTION = b"deletes"  # is in its first command


@pytest.fixture
def name() -> str:
    """A database of the test's own."""
    return f"uploads_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def database(mongodb: MongoDB, name: str) -> Iterator[Database[dict[str, Any]]]:
    with mongodb.client() as client:
        yield client[name]


@pytest.fixture
def store(mongodb: MongoDB, name: str) -> Iterator[MongoStore]:
    with closing(MongoStore(mongodb.url(name))) as store:
        yield store


@pytest.fixture
def link(mongodb: MongoDB) -> Iterator[Link]:
    with closing(Link(mongodb.port)) as link:
        yield link


@pytest.fixture
def far_store(link: Link, name: str) -> Iterator[MongoStore]:
    """A store that reaches the server over the link."""
    with closing(MongoStore(f"mongodb://127.0.0.1:{link.port}/{name}?directConnection=true")) as store:
        yield store


def large_email(at: datetime, content: bytes = LARGE) -> Email:
    return make.email(at, attachments=(make.attachment(content),))


def left_over(database: Database[dict[str, Any]]) -> int:
    return sum(database[name].count_documents({}) for name in ("uploads", "attachments", "contents", "emails"))


def test_large_attachments_are_accepted_one_after_the_other(tmp_path: Path) -> None:
    with (
        servers.started(tmp_path, cache_gb=0.25) as server,
        closing(MongoStore(server.url())) as store,
    ):
        for _ in range(12):
            now = store.clock()
            [email] = make.stored(store, now, large_email(now, bytes(30 * 1024 * 1024)))
        assert [len(content) for content in store.attachments(email.id)] == [30 * 1024 * 1024]


def test_large_and_small_emails_of_one_submission_come_whole(
    store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    now = store.clock()
    emails = make.stored(store, now, large_email(now), make.email(now), large_email(now, b"small"))
    assert [store.attachments(email.id) for email in emails] == [[LARGE], [], [b"small"]]
    assert database["uploads"].count_documents({}) == 0
    store.prune(10, now=now + MINUTES, finished_before=now)
    assert [store.attachments(email.id) for email in emails] == [[LARGE], [], [b"small"]]


def test_attachments_whose_emails_never_came_are_cleared_away(
    link: Link, far_store: MongoStore, store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    now = far_store.clock()
    link.cut_after(OF_THE_TRANSACTION, deliver=False, for_good=True)
    with pytest.raises(StoreError):
        make.stored(far_store, now, large_email(now))
    assert left_over(database) > 0
    store.prune(10, now=now, finished_before=now)
    assert left_over(database) > 0
    store.prune(10, now=now + MINUTES, finished_before=now)
    assert left_over(database) == 0


def test_all_abandoned_attachments_are_cleared_away_at_once(
    store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    now = store.clock()
    database["uploads"].insert_many([{"_id": f"email-{n:02}", "at": now} for n in range(50)])
    database["attachments"].insert_many([{"_id": f"email-{n:02}/0000/0000", "content": b""} for n in range(50)])
    store.prune(10, now=now + MINUTES, finished_before=now)
    assert left_over(database) == 0


def test_submission_whose_attachments_were_cleared_away_meanwhile_is_refused_whole(
    link: Link, far_store: MongoStore, store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    now = store.clock()
    link.before(OF_THE_TRANSACTION, lambda _: store.prune(10, now=now + MINUTES, finished_before=now))
    with pytest.raises(StoreUnavailable, match="try again"):
        make.stored(far_store, now, large_email(now))
    assert left_over(database) == 0


def test_repeated_submission_leaves_nothing_behind(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    now = store.clock()
    first, second = (
        make.submission(large_email(now), key=make.idempotency_key(now + HOUR), answer="the first") for _ in range(2)
    )
    for submission in (first, second):
        [added] = store.add([submission], now=now, wake_up_at=now)
        assert getattr(added, "answer", None) == "the first"
    store.prune(10, now=now + MINUTES, finished_before=now)
    assert store.get(ACCOUNT, second.emails[0].id) is None
    assert store.attachments(second.emails[0].id) == []
    assert store.attachments(first.emails[0].id) == [LARGE]
