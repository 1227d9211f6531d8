"""Connections that only read, lent to one thread at a time, so that no reader waits for the writer or another."""

import sqlite3
import threading
from pathlib import Path
from typing import TypeVar

from postroom.errors import StoreUnavailable
from postroom.store.sqlite import faults, schema
from postroom.store.sqlite.operation import Operation

T = TypeVar("T")

IDLE_LIMIT = 8


class Readers:
    """A small stock of connections; more are opened while more threads read, and closed again afterwards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._gate = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def run(self, question: Operation[T]) -> T:
        """Returns the answer to a question, which sees the file as of one moment."""
        try:
            connection = self._borrow()
            try:
                connection.execute("BEGIN")
                answer = question(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.close()  # whatever state it is in, nobody meets it again
                raise
        except (sqlite3.Error, MemoryError) as error:
            raise faults.translated(self._path, error) from error
        self._give_back(connection)
        return answer

    def close(self) -> None:
        """Closes all; those lent out are closed when they come back. May be called twice."""
        with self._gate:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _borrow(self) -> sqlite3.Connection:
        with self._gate:
            if self._closed:
                raise StoreUnavailable(f"{self._path} is closed")
            if self._idle:
                return self._idle.pop()
        return schema.open_reader(self._path)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._gate:
            if not self._closed and len(self._idle) < IDLE_LIMIT:
                self._idle.append(connection)
                return
        connection.close()
