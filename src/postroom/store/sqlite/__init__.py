"""The store in one SQLite file, for one process: group commit by a single writer thread, readers beside it."""

from postroom.store.sqlite.filesystem import refuse_unmakable
from postroom.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore", "refuse_unmakable"]
