"""One process's connection to MongoDB: its client, opened after the fork, never before; its collections and clock."""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pymongo
from bson.codec_options import CodecOptions
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from postroom.errors import StoreUnavailable
from postroom.store.mongo import faults, layout
from postroom.store.mongo.clock import AskingClock
from postroom.store.mongo.document import Document
from postroom.store.mongo.ended import Ended
from postroom.store.unreadable import PassedOver

PATIENCE_SECONDS = 2.0  # for any one call; where the driver looks for a primary it takes up to half a second more
PATIENCE_WHEN_DOWN_SECONDS = 1.0  # once the driver knows that there is no primary, and looks for one all the time
_MOST_TO_GIVE_BACK = 20  # claims of many emails each
CLOCK_PATIENCE_SECONDS = 0.5  # for a look at the server's clock, in the middle of some other call
_NOT_OPENED = (OSError, PyMongoError, ValueError)  # the first: a certificate file that is gone by now
_LEAST_SECONDS_OPEN = 1.0  # an election may go on, and a new client has to find all members anew
_LONGEST_CALL_SECONDS = 15.0  # that for all counts, and a bit

PROMISED = WriteConcern(w="majority", j=True)  # what is told to anybody, or decided for good
QUICK = WriteConcern(w=1)  # what only costs time when a crash forgets it

_OPTIONS: dict[str, Any] = {
    "appname": "postroom",
    "connect": False,
    "serverSelectionTimeoutMS": 1500,
    "connectTimeoutMS": 1500,
    "heartbeatFrequencyMS": 2000,  # a frozen server is found out after this and the time for a connection
    "timeoutMS": int(PATIENCE_SECONDS * 1000),
    "waitQueueTimeoutMS": 500,
    "retryWrites": True,
    "compressors": [],  # loopback and local networks are faster than any of them
}


class Connection:
    """The client of one process, and what it leads to. Made without any input or output; `ready` does the first."""

    def __init__(self, url: str, where: str, *, clock_sync_seconds: float, lost_seconds: float) -> None:
        self.where = where
        self._url = url
        self._open()
        self.clock = AskingClock(self._server_time, sync_seconds=clock_sync_seconds)
        self.ended = Ended()
        self.to_give_back: deque[tuple[Sequence[Document], str]] = deque(maxlen=_MOST_TO_GIVE_BACK)
        self.lost_seconds = lost_seconds
        self.lost_leases_looked_for_at = time.monotonic()
        self.passed_over = PassedOver()
        self._prepared = False
        self._opening = threading.Lock()

    def _open(self) -> None:
        self._opened_at = time.monotonic()
        self.client: MongoClient[Document] = MongoClient(self._url, **_OPTIONS)
        # Aware UTC times need no `tzinfo` here; with one the driver converts each anew, a quarter of all decoding.
        codec: CodecOptions[Document] = CodecOptions(tz_aware=True)
        self.database = self.client.get_database(
            database_name(self._url), codec, ReadPreference.PRIMARY, PROMISED, ReadConcern("local")
        )
        self.admin = self.client.get_database("admin", read_preference=ReadPreference.PRIMARY)
        self.emails = self.database["emails"]
        self.emails_quickly = self.emails.with_options(write_concern=QUICK)
        self.contents = self.database["contents"]
        self.attachments = self.database["attachments"]
        self.uploads = self.database["uploads"]
        self.leases = self.database["leases"]
        self.leases_quickly = self.leases.with_options(write_concern=QUICK)
        self.api_keys = self.database["api_keys"]
        self.meta = self.database["meta"]

    def reopen(self, seen: MongoClient[Document]) -> None:
        """Leaves this client, and all its links, for a new one, unless that was done just now."""
        with self._opening:
            if seen is not self.client or time.monotonic() - self._opened_at < _LEAST_SECONDS_OPEN:
                return
            try:
                self._open()
            except _NOT_OPENED:
                return
        closing = threading.Timer(_LONGEST_CALL_SECONDS, seen.close)  # others are in the middle of calls
        closing.daemon = True
        closing.start()

    def ready(self) -> "Connection":
        """This connection, once its server has passed the checks of `layout`. Raises `StoreError`.

        Threads may do this at the same time; that does no harm, and none has to wait for another's time-out.
        """
        if not self._prepared:
            with faults.asking(self.where):
                layout.prepare(self.meta, self.where, patience_seconds=PATIENCE_SECONDS)
            self._prepared = True
        return self

    def look_again(self) -> None:
        """Has the next call check the server as the first one did, and make what is missing."""
        self._prepared = False

    @property
    def longest_patience_seconds(self) -> float:
        """How long any call may take now: hardly at all while there is no primary."""
        return math.inf if self.client.topology_description.has_writable_server() else PATIENCE_WHEN_DOWN_SECONDS

    def primary(self) -> tuple[object, ...]:
        """The member that is written to, and the election that made it so: another one after a crash, too. What was
        written quickly (`w:1`) before a change may be forgotten, and what was written after it kept."""
        if not self.client.topology_description.has_writable_server():
            self.admin.command("ping")  # which looks for one
        members = self.client.topology_description.server_descriptions().values()
        return tuple((member.address, member.election_id) for member in members if member.is_writable)

    def check_primary(self, before: tuple[object, ...]) -> None:
        """Raises `StoreUnavailable` unless the primary is the one that it was."""
        if self.primary() != before:
            raise StoreUnavailable(f"MongoDB at {self.where} has changed its primary: try again")

    def _server_time(self) -> datetime:
        with pymongo.timeout(CLOCK_PATIENCE_SECONDS):
            local_time: datetime = self.admin.command("hello")["localTime"]
        return local_time.replace(tzinfo=UTC)


class Connections:
    """One connection for each process that uses the store, made when that process first asks."""

    def __init__(self, url: str, *, clock_sync_seconds: float, lost_seconds: float) -> None:
        """Raises `ValueError` with one clear sentence when it is no URL of MongoDB."""
        check_url(url)
        self.where = where(url)
        self._url = url
        self._clock_sync_seconds = clock_sync_seconds
        self._lost_seconds = lost_seconds
        # A forked child keeps its parent's connection here and never touches it: its locks and sockets are not ours.
        self._by_process: dict[int, Connection] = {}
        self._closed = False

    def current(self) -> Connection:
        """This process's connection, ready. Raises `StoreError`."""
        if self._closed:
            raise StoreUnavailable(f"the connection to MongoDB at {self.where} was closed")
        connection = self._by_process.get(os.getpid())
        return (connection or self._connect()).ready()

    def close(self) -> None:
        """Closes this process's connection. May be called twice."""
        self._closed = True
        connection = self._by_process.get(os.getpid())
        if connection:
            connection.client.close()

    def _connect(self) -> Connection:
        try:
            made = Connection(
                self._url,
                self.where,
                clock_sync_seconds=self._clock_sync_seconds,
                lost_seconds=self._lost_seconds,
            )
        except _NOT_OPENED as error:
            raise StoreUnavailable(f"the options in the store's URL do not suit MongoDB at {self.where}") from error
        kept = self._by_process.setdefault(os.getpid(), made)
        if kept is not made:  # another thread was faster
            made.client.close()
        return kept


def check_url(url: str) -> None:
    """Raises `ValueError` with one sentence that has no part of the URL in it, for a password may stand anywhere."""
    try:
        if "@" in urlsplit(url).path:
            raise ValueError  # a password with a slash and an @ in it: the host would be a part of it
        if not url.startswith("mongodb+srv://"):  # that one takes a look into the DNS
            parse_uri(url)
    except OSError as error:
        raise ValueError(f"names a certificate file that cannot be read ({error.strerror})") from None
    except (PyMongoError, ValueError):
        form = "mongodb://[user:password@]host[:port][,host[:port]…]/[database][?options]"
        raise ValueError(f"must be {form}, special characters in the password percent-encoded") from None


def where(url: str) -> str:
    """The hosts in the URL; never its user or password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def database_name(url: str) -> str:
    """The database in the URL, `postroom` when there is none."""
    return urlsplit(url).path.removeprefix("/") or "postroom"
