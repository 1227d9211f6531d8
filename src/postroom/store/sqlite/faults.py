"""Translates what SQLite and the file system report into our errors: one sentence that says what, which, what now."""

import errno
import sqlite3
from pathlib import Path

from postroom.errors import OutcomeUnknown, StoreError, StoreFull, StoreUnavailable

_SENTENCES = {  # by the primary result code, https://sqlite.org/rescode.html
    "SQLITE_NOTADB": "{path} is not an SQLite database: name another file, or restore this one from a backup",
    "SQLITE_CORRUPT": "{path} is damaged: stop Postroom and restore it from a backup",
    "SQLITE_CANTOPEN": "{path} cannot be opened: check that its directory exists and may be written",
    "SQLITE_READONLY": "{path} may not be written: check the rights on it and on its directory",
    "SQLITE_PERM": "{path} may not be used: check the rights on it and on its directory",
    "SQLITE_IOERR": "the disk that holds {path} fails to read or write ({code}): check the disk",
    "SQLITE_BUSY": "another program holds a lock on {path}: end it and try again",
    "SQLITE_LOCKED": "another program holds a lock on {path}: end it and try again",
    "SQLITE_PROTOCOL": "another program holds a lock on {path}: end it and try again",
}
_NO_MEMORY = "there is no memory left to work on {path}: free some and try again"

# COMMIT raises these before the commit record is whole. Any other error may come after that (from the fsync, or while
# the log's index grows): the transaction is undone in this process, but in the log until the next one overwrites it.
_SURELY_UNDONE = ("SQLITE_BUSY", "SQLITE_CONSTRAINT", "SQLITE_FULL")


def translated(path: Path, error: sqlite3.Error | MemoryError) -> StoreError:
    """The error to raise in place of this one. Only a broken constraint, which is a bug, is not `StoreUnavailable`.
    SQLITE_NOMEM reaches us as a `MemoryError`."""
    if isinstance(error, MemoryError):
        return StoreUnavailable(_NO_MEMORY.format(path=path))
    code = getattr(error, "sqlite_errorname", "")
    if isinstance(error, sqlite3.IntegrityError):
        return StoreError(f"{path} refuses a write that would break its rules: {error}")
    if code == "SQLITE_FULL":
        return StoreFull(f"the disk that holds {path} is full: free some space and try again")
    for prefix, sentence in _SENTENCES.items():
        if code.startswith(prefix):
            return StoreUnavailable(sentence.format(path=path, code=code))
    return StoreUnavailable(f"{path} does not answer: {error or code}")


def of_commit(path: Path, error: Exception) -> StoreError:
    """The error to raise when COMMIT has failed with this one."""
    meaning = translated(path, error) if isinstance(error, (sqlite3.Error, MemoryError)) else repr(error)
    if isinstance(meaning, StoreError) and getattr(error, "sqlite_errorname", "").startswith(_SURELY_UNDONE):
        return meaning
    return OutcomeUnknown(f"{meaning}; after a crash of Postroom the write may turn out to have happened")


def of_file(path: Path, error: OSError) -> StoreUnavailable:
    """The error to raise when a file or directory of the store cannot be made or opened."""
    kind = StoreFull if error.errno == errno.ENOSPC else StoreUnavailable
    return kind(f"{path} cannot be used ({error.strerror}): name another file, or mend its owner or its directory")
