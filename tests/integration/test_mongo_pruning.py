"""MongoDB: emails whose retention is over are deleted in transactions that also a slow disk gets done in time."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from pymongo.database import Database

from postroom.mail.email import Status
from postroom.store.mongo import MongoStore
from tests import make
from tests.make import HOUR
from tests.servers.mongodb import MongoDB


@pytest.fixture
def name() -> str:
    """A database of the test's own."""
    return f"pruning_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def database(mongodb: MongoDB, name: str) -> Iterator[Database[dict[str, Any]]]:
    with mongodb.client() as client:
        yield client[name]


@pytest.fixture
def store(mongodb: MongoDB, name: str) -> Iterator[MongoStore]:
    with closing(MongoStore(mongodb.url(name))) as store:
        yield store


def store_finished(store: MongoStore, count: int) -> None:
    now = store.clock()
    life = make.new_life(now, status=Status.SUPPRESSED, next_attempt_at=None)
    attachment = make.attachment(b"content")
    make.stored(store, now, *(make.email(now, life=life, attachments=(attachment,)) for _ in range(count)))


def test_few_emails_are_deleted_at_first_and_more_once_it_is_quick(
    store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    store_finished(store, 100)
    database.command("profile", 2)
    later = store.clock() + HOUR
    assert store.prune(1000, now=later, finished_before=later) == 100
    deletions = database["system.profile"].find({"op": "remove", "ns": f"{database.name}.emails"}, sort=[("ts", 1)])
    first, second, *_ = [deletion["ndeleted"] for deletion in deletions]
    assert first == 20
    assert 20 <= second <= 40


def test_emails_whose_contents_are_lost_are_deleted_and_keep_no_others_from_it(
    store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    store_finished(store, 30)
    database["contents"].delete_many({})
    store_finished(store, 5)
    later = store.clock() + HOUR
    assert store.prune(1000, now=later, finished_before=later) == 35
    assert [database[name].count_documents({}) for name in ("emails", "contents", "attachments")] == [0, 0, 0]


@pytest.mark.parametrize("damage", [{"attachments.0.size": None}, {"attachments": [5]}, {"idempotency": []}], ids=str)
def test_email_whose_contents_are_damaged_is_deleted_with_the_others(
    store: MongoStore, database: Database[dict[str, Any]], damage: dict[str, object]
) -> None:
    store_finished(store, 3)
    database["contents"].update_one({}, {"$set": damage})
    later = store.clock() + HOUR
    assert store.prune(1000, now=later, finished_before=later) == 3
    assert [database[name].count_documents({}) for name in ("emails", "contents", "attachments")] == [0, 0, 0]
