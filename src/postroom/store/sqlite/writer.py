"""The one thread that writes: whatever waits at this moment becomes one transaction, made durable by one fsync."""

import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from postroom.errors import OutcomeUnknown, PostroomError, StoreError, StoreUnavailable
from postroom.store.sqlite import faults
from postroom.store.sqlite.operation import Operation

log = logging.getLogger(__name__)
T = TypeVar("T")

GROUP_LIMIT = 256


@dataclass(slots=True)
class _Write:
    """One caller's operation, what it brought, and where the caller waits for it."""

    operation: Operation[Any]
    future: "Future[Any]"
    result: Any = None
    error: Exception | None = None


class Writer:
    """Owns the read-write connection and does all its checkpoints. An operation that fails does not harm those that
    share its transaction."""

    def __init__(self, connection: sqlite3.Connection, path: Path, *, patience_seconds: float) -> None:
        self._connection = connection
        self._path = path
        self._patience = patience_seconds
        self._waiting: SimpleQueue[_Write | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="postroom-store-writer", daemon=True)
        self._thread.start()

    def run(self, operation: Operation[T], *, undo: Callable[[T], Operation[object]] | None = None) -> T:
        """Returns the operation's result once it is durable, or raises what it raised.

        Raises `StoreUnavailable` when nothing was written, `OutcomeUnknown` when it was begun and took too long. If it
        then succeeds all the same, the operation that `undo` makes of its result undoes it; nobody waits for that.
        """
        write = self._queued(operation)
        try:
            result: T = write.future.result(self._patience)
        except TimeoutError:
            result = self._overdue(write, undo)
        return result

    def run_later(self, operation: Operation[object]) -> None:
        """Has it done after what waits already; nobody learns how it ended. Raises `StoreUnavailable` when closed."""
        self._queued(operation)

    def close(self) -> None:
        """Finishes what waits, moves the log into the file and closes it. May be called twice."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _queued(self, operation: Operation[Any]) -> _Write:
        write = _Write(operation, Future())
        with self._gate:
            if self._closed:
                raise StoreUnavailable(f"{self._path} is closed")
            self._waiting.put(write)
        return write

    def _overdue(self, write: _Write, undo: Callable[[Any], Operation[object]] | None) -> Any:
        if write.future.cancel():
            raise StoreUnavailable(f"{self._path} is too busy: nothing was written in {self._patience} s; try again")
        if write.future.done():
            return write.future.result()
        if undo:
            with suppress(StoreUnavailable):  # closed: what is begun is still finished, but nothing comes after it
                self.run_later(lambda connection: undo(write.result)(connection) if write.result is not None else None)
        raise OutcomeUnknown(f"{self._path} took more than {self._patience} s: the write may still happen")

    def _serve(self) -> None:
        last = False
        while not last:
            group, last = self._next_group()
            begun = [write for write in group if write.future.set_running_or_notify_cancel()]
            if begun:
                self._finish(begun, self._commit(begun))
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:  # harmless: the log is read at the next start
            log.warning("store not checkpointed", extra={"reason": str(faults.translated(self._path, error))})
        self._connection.close()

    def _next_group(self) -> tuple[list[_Write], bool]:
        """Waits for a write, then takes along all that wait beside it; says whether they are the last."""
        group: list[_Write] = []
        while len(group) < GROUP_LIMIT:
            write = self._waiting.get()
            if write is None:
                return group, True
            group.append(write)
            if self._waiting.empty():
                break
        return group, False

    def _commit(self, group: list[_Write]) -> Exception | None:
        """Runs the group in one transaction. Returns the error that undid all of it, if one did."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if len(group) == 1:  # nobody to be kept apart from, and a savepoint has its price
                group[0].result = group[0].operation(self._connection)
            else:
                for write in group:
                    self._run_apart(write)
        except Exception as error:  # whatever it is, this thread must live on for the next group
            self._roll_back()
            return error
        return self._end()

    def _end(self) -> StoreError | None:
        """Commits the transaction. Returns what its writers are to be told if that fails."""
        try:
            self._connection.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            fault = faults.of_commit(self._path, error)
            fault.__cause__ = error
            return fault
        return None

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:  # the next group cannot begin, fails too, and tries again
            log.exception("store not rolled back")

    def _run_apart(self, write: _Write) -> None:
        """Runs one operation so that its failure undoes it alone. Raises when SQLite undid the whole transaction."""
        connection = self._connection
        connection.execute("SAVEPOINT apart")
        try:
            write.result = write.operation(connection)
        except Exception as error:
            if not connection.in_transaction:  # a full disk and the like; https://sqlite.org/lang_transaction.html
                raise
            connection.execute("ROLLBACK TO apart")
            write.error = error
        connection.execute("RELEASE apart")

    def _finish(self, group: list[_Write], fault: Exception | None) -> None:
        for write in group:
            error = fault or write.error
            if error is None:
                write.future.set_result(write.result)
            elif isinstance(error, (sqlite3.Error, MemoryError)):
                translated: PostroomError = faults.translated(self._path, error)
                translated.__cause__ = error
                write.future.set_exception(translated)
            else:
                write.future.set_exception(error)
