"""A turn that meets attachments it cannot read: the email is put off, neither failed nor sent without them."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pymongo import MongoClient

from postroom.mail.email import Email, Status
from postroom.store.base import Store
from postroom.store.mongo import MongoStore
from postroom.store.redis import RedisStore
from postroom.store.sqlite import SqliteStore
from postroom.transport.simulated import SimulatedTransport
from tests import make
from tests.turns import turn

CONTENT = b"content"


@pytest.fixture
def instant() -> Iterator[SimulatedTransport]:
    transport = SimulatedTransport(min_seconds=0, max_seconds=0)
    yield transport
    transport.close()


def stored(store: Store) -> Email:
    return make.one(store, attachments=(make.attachment(CONTENT),))


def expect_put_off(store: Store, email: Email, transport: SimulatedTransport, caplog: pytest.LogCaptureFixture) -> None:
    """A turn leaves the email for later, and says why."""
    began = store.clock()
    turn(store, transport, email.id)
    life = make.found(store, email).life
    assert (life.status, life.attempts, life.crash_count) == (Status.QUEUED, 0, 0)
    assert life.next_attempt_at
    assert life.next_attempt_at >= began + 59 * make.SECOND
    assert [record.message for record in caplog.records] == ["email unreadable"]


@pytest.mark.parametrize("change", ["DELETE FROM attachments", "UPDATE attachments SET content = x'00'"])
def test_attachments_in_sqlite(
    tmp_path: Path, instant: SimulatedTransport, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    with closing(SqliteStore(tmp_path / "store.sqlite3")) as store:
        email = stored(store)
        store._writer.run(lambda connection: connection.execute(change).close())
        expect_put_off(store, email, instant, caplog)


@pytest.mark.parametrize("change", [{"$rename": {"content": "octets"}}, {"$unset": {"position": ""}}])
def test_attachments_in_mongodb(
    mongodb_url: str, instant: SimulatedTransport, caplog: pytest.LogCaptureFixture, change: dict[str, dict[str, str]]
) -> None:
    with closing(MongoStore(mongodb_url)) as store, MongoClient[dict[str, object]](mongodb_url) as client:
        email = stored(store)
        client.get_default_database()["attachments"].update_many({}, change)
        expect_put_off(store, email, instant, caplog)


@pytest.mark.parametrize("field", ["first", "1"])
def test_attachments_in_redis(
    empty_redis: Callable[[], str], instant: SimulatedTransport, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    with closing(RedisStore(empty_redis())) as store:
        email = stored(store)
        key = f"postroom:attachments:{email.id}"
        with store._connections.session(writing=True) as session:
            session.write(("DEL", key), ("HSET", key, field, "something else"), durable=False)
        expect_put_off(store, email, instant, caplog)
