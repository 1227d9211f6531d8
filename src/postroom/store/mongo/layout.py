"""The layout of the database: its collections, indexes and schema, and what the server must promise."""

from collections.abc import Mapping, Sequence

import pymongo
from pymongo import IndexModel, MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from postroom.errors import StoreError
from postroom.store.mongo.document import SCHEMA, Document

OLDEST_SCHEMA = 2  # that this Postroom reads
OLDEST_WIRE_VERSION = 17  # MongoDB 6.0, the oldest that we test with
BUILD_SECONDS = 60  # for indexes; only the first start, or one after an upgrade, builds any

_EXISTS = 48
_WAITING = {"due_at": {"$exists": True}}


def _index(
    name: str, *keys: tuple[str, int], where: Mapping[str, object] | None = None, unique: bool = False
) -> IndexModel:
    return IndexModel(list(keys), name=name, unique=unique, **({"partialFilterExpression": where} if where else {}))


INDEXES: Mapping[str, Sequence[IndexModel]] = {
    "emails": (
        _index("listed", ("status", 1), ("account", 1), ("_id", 1)),
        # The names of the lanes sort against the order of service, so the first in these indexes is the most urgent.
        _index("due", ("lane", -1), ("due_at", 1), where=_WAITING),
        _index("unpublished", ("lane", -1), ("wake_up_at", 1), where=_WAITING),
        _index("expiring", ("expires_at", 1), where=_WAITING),
        _index("finished", ("finished_at", 1), where={"finished_at": {"$exists": True}}),
    ),
    "leases": (_index("look_at", ("look_at", 1)),),
    "contents": (
        _index("by_term", ("account", 1), ("search.terms", 1), ("_id", 1)),
        _index("by_subject", ("account", 1), ("search.subject", 1), ("_id", 1)),
        _index("newest", ("account", 1), ("_id", 1), ("search.subject", 1)),
        _index("by_key", ("idempotency.key", 1), where={"idempotency.key": {"$exists": True}}, unique=True),
    ),
    "attachments": (),
    "uploads": (_index("by_age", ("at", 1)),),
    "api_keys": (
        _index("by_account", ("account", 1), ("created_at", 1), ("_id", 1)),
        _index("by_age", ("created_at", 1), ("_id", 1)),
    ),
}


def prepare(meta: Collection[Document], where: str, *, patience_seconds: float) -> None:
    """Checks the server, makes what is missing, and proves that what is written is durable. Raises `StoreError`."""
    with pymongo.timeout(patience_seconds):
        _check_server(meta.database.client, where)
        _check_schema(meta, where)
        missing = _missing(meta.database)
    if missing:
        with pymongo.timeout(BUILD_SECONDS):
            _make(meta.database, missing)
    with pymongo.timeout(patience_seconds):
        _prove_durable(meta, where)
        ping(meta)


def ping(meta: Collection[Document]) -> bool:
    """Writes one small document, durably; returns whether it was there before."""
    return meta.update_one({"_id": "ping"}, {"$currentDate": {"at": True}}, upsert=True).upserted_id is None


def _check_server(client: MongoClient[Document], where: str) -> None:
    try:
        hello = client.admin.command("hello")
    except ServerSelectionTimeoutError as error:
        members = client.topology_description.server_descriptions().values()
        if any(member.server_type_name == "RSGhost" for member in members):
            raise StoreError(
                f"the replica set of MongoDB at {where} was never initiated: run rs.initiate() on it once"
            ) from error
        raise
    if "setName" not in hello:
        raise StoreError(
            f"MongoDB at {where} is not in a replica set, which transactions and durable writes need: start mongod "
            "with --replSet rs0 and run rs.initiate() once; one member is enough"
        )
    if hello["maxWireVersion"] < OLDEST_WIRE_VERSION:
        raise StoreError(f"MongoDB at {where} is too old: 6.0 or later is needed")


def _check_schema(meta: Collection[Document], where: str) -> None:
    layout = meta.find_one({"_id": "layout"}) or {}
    if layout.get("schema", SCHEMA) < OLDEST_SCHEMA:
        raise StoreError(
            f"the database {meta.database.name} of MongoDB at {where} was written by a Postroom from before the first "
            f"release (schema {layout['schema']}, this one reads {SCHEMA}): let that one send what is left, then name "
            "another database, or drop this one"
        )
    if layout.get("schema", SCHEMA) > SCHEMA:
        raise StoreError(
            f"the database {meta.database.name} of MongoDB at {where} was written by a newer Postroom (schema "
            f"{layout['schema']}, this one knows {SCHEMA}): upgrade Postroom, or name another database"
        )


def _missing(database: Database[Document]) -> dict[str, list[IndexModel]]:
    """The collections that are not there, or lack indexes, with these."""
    there = set(database.list_collection_names())
    missing: dict[str, list[IndexModel]] = {}
    for name, indexes in INDEXES.items():
        present = set(database[name].index_information()) if name in there else set()
        lacking = [index for index in indexes if index.document["name"] not in present]
        if lacking or name not in there:
            missing[name] = lacking
    return missing


def _make(database: Database[Document], missing: Mapping[str, Sequence[IndexModel]]) -> None:
    for name, indexes in missing.items():
        if indexes:
            database[name].create_indexes(indexes)
        else:
            _create(database, name)


def _create(database: Database[Document], name: str) -> None:
    try:
        database.command("create", name)
    except OperationFailure as error:
        if error.code != _EXISTS:  # another process was faster
            raise


def _prove_durable(meta: Collection[Document], where: str) -> None:
    """A server without a journal refuses this write."""
    if meta.write_concern.document != {"w": "majority", "j": True}:
        raise StoreError(f"writes to MongoDB at {where} would not be durable: {meta.write_concern.document}")
    meta.update_one({"_id": "layout"}, {"$max": {"schema": SCHEMA}}, upsert=True)
