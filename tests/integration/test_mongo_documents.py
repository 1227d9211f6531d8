"""What people see who look into the database, and what becomes of documents that are not as expected."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from postroom.errors import StoreError
from postroom.mail.email import Attachment
from postroom.store.mongo import MongoStore
from postroom.store.mongo.document import SCHEMA
from postroom.store.mongo.documents import CHUNK
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND

Document = dict[str, Any]


@pytest.fixture
def store(mongodb_url: str) -> Iterator[MongoStore]:
    store = MongoStore(mongodb_url)
    yield store
    store.close()


@pytest.fixture
def database(mongodb_url: str) -> Iterator[Database[Document]]:
    """The store's database, seen past the store."""
    with MongoClient[Document](mongodb_url, tz_aware=True) as client:
        yield client.get_default_database()


def values(document: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value in a document, with its path."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from values(value, f"{path}.{name}" if path else name)
    elif isinstance(document, list):
        for value in document:
            yield from values(value, path)
    else:
        yield path, document


def test_main_document_is_pleasant_to_read(store: MongoStore, database: Database[Document]) -> None:
    now = store.clock()
    attachment = Attachment(
        filename="a.pdf", content_type="application/pdf", content_id=None, size=3, content=b"\0\1\2"
    )
    email = make.email(
        now, html="<p>a secret</p>", text="a secret", headers=(("X-A", "secret"),), attachments=(attachment,)
    )
    make.stored(store, now, email)
    [claim] = make.claimed(store, now, email)
    store.settle([make.retrying(claim, now, now + HOUR)], now=now)
    document = database["emails"].find_one() or {}
    seen = dict(values(document))
    assert list(document)[:7] == ["_id", "schema", "revision", "account", "status", "lane", "subject"]
    moments = {name: type(value) for name, value in seen.items() if name.endswith(("_at", ".at"))}
    assert {"next_attempt_at", "expires_at", "due_at", "recipients.at", "timeline.at"} <= set(moments)
    assert set(moments.values()) == {datetime}
    assert not [name for name, value in seen.items() if isinstance(value, bytes) or value is None]
    assert "secret" not in str(document)


def test_what_was_submitted_stands_apart_and_is_pleasant_to_read_too(
    store: MongoStore, database: Database[Document]
) -> None:
    now = store.clock()
    attachment = Attachment(
        filename="a.pdf", content_type="application/pdf", content_id=None, size=3, content=b"\0\1\2"
    )
    email = make.email(now, html="<p>", text="t", tags=(("kind", "receipt"),), attachments=(attachment,))
    make.stored(store, now, email)
    [content] = database["contents"].find()
    assert not [name for name, value in values(content) if isinstance(value, bytes) or value is None]
    assert content == {
        "_id": email.id,
        "schema": 2,
        "account": ACCOUNT,
        "from": {"address": "post@example.org", "name": "The Post Room"},
        "to": [{"address": "anna@example.com"}],
        "tags": [{"name": "kind", "value": "receipt"}],
        "attachments": [{"filename": "a.pdf", "content_type": "application/pdf", "size": 3}],
        "message_id": email.message_id,
        "created_at": email.created_at,
        "max_attempts": email.max_attempts,
        "html": "<p>",
        "text": "t",
        "search": {"subject": "hello", "terms": ["#kind", "#kind:receipt", "@anna@example.com"]},
    }


def test_nothing_that_happens_to_an_email_changes_what_was_submitted(
    store: MongoStore, database: Database[Document]
) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.email(now, tags=(("kind", "receipt"),)))
    before = list(database["contents"].find())
    [claim] = make.claimed(store, now, email)
    store.settle([make.retrying(claim, now, now + HOUR)], now=now)
    store.cancel(ACCOUNT, email.id, now=now)
    assert list(database["contents"].find()) == before


def test_attachments_are_documents_of_their_own(store: MongoStore, database: Database[Document]) -> None:
    now = store.clock()
    content = bytes(range(256)) * (CHUNK // 128 + 1)
    attachments = tuple(
        Attachment(filename=None, content_type="a/b", content_id=None, size=len(c), content=c)
        for c in (b"", content, b"last")
    )
    [email] = make.stored(store, now, make.email(now, html="<p>", text="t", attachments=attachments))
    chunks = [(d["position"], len(d["content"])) for d in database["attachments"].find().sort("_id")]
    assert chunks == [(0, 0), (1, CHUNK), (1, CHUNK), (1, 256), (2, 4)]
    assert store.attachments(email.id) == [b"", content, b"last"]


def test_thirty_megabytes_of_attachments_are_stored_in_time(store: MongoStore) -> None:
    now = store.clock()
    content = b"0123456789abcdef" * (10 * 1024 * 1024 // 16)
    attachment = Attachment(filename="x", content_type="a/b", content_id=None, size=len(content), content=content)
    [email] = make.stored(store, now, make.email(now, attachments=(attachment,) * 3))
    assert store.attachments(email.id) == [content] * 3


def test_idempotency_key_stands_in_the_content_and_outlives_no_email(
    store: MongoStore, database: Database[Document]
) -> None:
    now = store.clock()
    email, key = make.email(now), make.idempotency_key(now + HOUR)
    submission = make.submission(email, key=key, answer="first")
    store.add([submission], now=now, wake_up_at=now)
    content = database["contents"].find_one({"_id": email.id}) or {}
    assert content["idempotency"] == {
        "key": f'["{ACCOUNT}", "{key.endpoint}", "{key.key}"]',
        "fingerprint": key.fingerprint,
        "answer": "first",
        "expires_at": key.expires_at,
    }
    store.cancel(ACCOUNT, email.id, now=now)
    assert store.prune(9, now=now + SECOND, finished_before=now + SECOND) == 0
    assert store.replay(ACCOUNT, key, now=now + SECOND) == "first"
    later = now + HOUR + SECOND
    assert store.prune(9, now=later, finished_before=later) == 1
    assert database["contents"].find_one() is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"order": 7, "ok": True, "nothing": None, "deep": {"list": [1, 2.5, "x"]}},
        {"a.b": 1, "$set": {"$ref": "x", "$id": 1}, "": "empty"},
        {"great": 2**70, "small": -(2**63), "nul\0": "\0"},
    ],
)
def test_metadata_comes_back_as_it_was(store: MongoStore, metadata: dict[str, Any]) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.email(now, metadata=metadata))
    found = store.get(ACCOUNT, email.id)
    assert found
    assert found.metadata == metadata
    assert list(found.metadata) == list(metadata)


def test_document_of_a_newer_postroom_is_left_alone(store: MongoStore, database: Database[Document]) -> None:
    now = store.clock()
    newer, known = make.stored(store, now, make.email(now), make.email(now))
    database["emails"].update_one({"_id": newer.id}, {"$set": {"schema": 3}})
    with pytest.raises(StoreError, match=r"was written by a newer Postroom .* upgrade Postroom"):
        store.get(ACCOUNT, newer.id)
    claims = store.claim([newer.id, known.id], worker="w", now=now, lease=LEASE)
    assert [claim.email.id for claim in claims] == [known.id]
    assert store.claim_due(9, worker="w", now=now, lease=LEASE) == []
    assert store.expire(9, now=now + 99 * HOUR) == 0


def test_life_that_is_replaced_has_the_schema_of_who_wrote_it(store: MongoStore, database: Database[Document]) -> None:
    now = store.clock()
    sent, canceled = make.stored(store, now, make.email(now), make.email(now))
    database["emails"].update_many({}, {"$set": {"schema": 1}})
    [claim] = make.claimed(store, now, sent)
    store.settle([make.sent(claim, now)], now=now)
    store.cancel(ACCOUNT, canceled.id, now=now)
    assert [document["schema"] for document in database["emails"].find()] == [SCHEMA, SCHEMA]


def test_database_of_a_newer_postroom_is_refused(
    mongodb_url: str, store: MongoStore, database: Database[Document]
) -> None:
    store.ping()
    database["meta"].update_one({"_id": "layout"}, {"$set": {"schema": 3}})
    late = MongoStore(mongodb_url)
    with pytest.raises(StoreError, match=r"was written by a newer Postroom .* or name another database"):
        late.ping()
    late.close()


def test_database_from_before_the_first_release_is_refused_with_the_way_out(
    mongodb_url: str, database: Database[Document]
) -> None:
    database["meta"].insert_one({"_id": "layout", "schema": 1})
    store = MongoStore(mongodb_url)
    with pytest.raises(StoreError, match=r"before the first release .* send what is left, then name another"):
        store.ping()
    store.close()


def test_damaged_document_is_reported_and_harms_no_neighbour(
    store: MongoStore, database: Database[Document], caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    broken, sound = make.stored(store, now, make.email(now), make.email(now))
    database["emails"].update_one({"_id": broken.id}, {"$set": {"on_uncertain": "perhaps"}})
    with pytest.raises(StoreError, match=f"email {broken.id} is damaged"):
        store.get(ACCOUNT, broken.id)
    claims = store.claim([broken.id, sound.id], worker="w", now=now, lease=LEASE)
    assert [claim.email.id for claim in claims] == [sound.id]
    assert "email unreadable" in caplog.text
    store.fence({claim.email.id: claim.token for claim in claims}, now=now, lease=LEASE)
    assert store.recover(9, now=now + 2 * LEASE, doubt_delay=SECOND) == 1


def test_fault_of_a_bulk_write_shows_no_contents(store: MongoStore) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.email(now, text="a secret"))
    with pytest.raises(StoreError, match="refuses to store something twice") as refused:
        make.stored(store, now, email)
    assert "secret" not in f"{refused.value}{refused.value.__cause__}"
    assert refused.value.__suppress_context__
