"""Transactions: several documents written durably all together or not at all, and what becomes of abandoned ones."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import pymongo
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.errors import ConfigurationError, PyMongoError
from pymongo.read_concern import ReadConcern

from postroom.store.mongo import faults
from postroom.store.mongo.connection import PATIENCE_SECONDS, PROMISED, Connection
from postroom.store.mongo.document import Document

Result = TypeVar("Result")

_PATIENCE_TO_ABORT_SECONDS = 0.5  # it is a courtesy to others, and may well be what hangs
_SURELY_ABANDONED_SECONDS = PATIENCE_SECONDS + 2


def run(
    connection: Connection, work: Callable[[ClientSession], Result], *, write_concern: WriteConcern = PROMISED
) -> Result:
    """Does the work in one transaction, by default durable on return. `PyMongoError` means that nothing was written;
    `OutcomeUnknown`, that the commit was not answered, although it was repeated until the time was up, or in a way that
    leaves it open."""
    client = connection.client
    with _without_spoiled_links(connection, client), client.start_session(causal_consistency=False) as session:
        session.start_transaction(ReadConcern("local"), write_concern, ReadPreference.PRIMARY)
        try:
            result = work(session)
        except BaseException:
            with pymongo.timeout(_PATIENCE_TO_ABORT_SECONDS), suppress(ConfigurationError):
                session.abort_transaction()
            raise
        try:
            session.commit_transaction()
        except PyMongoError as error:
            if lost_race(error):
                raise
            if isinstance(error, ConfigurationError):
                connection.reopen(client)
            raise faults.unknown(connection.where) from error
        return result


@contextmanager
def _without_spoiled_links(connection: Connection, client: MongoClient[Document]) -> Iterator[None]:
    """The driver keeps what a member said of itself when a link to it was made. In the middle of an election that may
    be that it is neither primary nor secondary, and then each transaction is refused on that link, as long as it
    lasts. So the client is left with all of its links."""
    try:
        yield
    except ConfigurationError as error:
        connection.reopen(client)
        raise faults.no_primary(connection.where) from error


def lost_race(error: PyMongoError) -> bool:
    """Whether a transaction failed because of another, so that it may do better next time."""
    return error.has_error_label("TransientTransactionError")


def end_abandoned(connection: Connection) -> None:
    """Ends the transactions of processes that died in the middle: the server would let them lock what they wrote for a
    minute. Those older than any call may last are meant; a frozen process that wakes up is told so at its commit."""
    abandoned = connection.admin.aggregate(
        [
            {"$currentOp": {"idleSessions": True}},
            {"$match": {"type": "idleSession", "appName": "postroom"}},
            {"$match": {"transaction.timeOpenMicros": {"$gt": _SURELY_ABANDONED_SECONDS * 1_000_000}}},
        ]
    )
    sessions = [{"id": operation["lsid"]["id"]} for operation in abandoned]
    if sessions:
        connection.admin.command("killSessions", sessions)
