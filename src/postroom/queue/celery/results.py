"""Celery's MongoDB results with what they lack: they expire by themselves, and no client outlives a fork."""

import contextlib
import os
from typing import Any

from celery.backends.mongodb import MongoBackend
from pymongo.errors import OperationFailure

EXPIRY_INDEX = "postroom_expiry"


class MongoResults(MongoBackend):  # type: ignore[misc]  # Celery has no types
    """Chunk results in `celery_taskmeta`. A client that was opened before a fork is never used after it."""

    _opened: tuple[int, Any] | None = None

    @property
    def collection(self) -> Any:
        """The collection of results, of a client that this process opened."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._connection = None
            found = self._get_database()[self.taskmeta_collection]
            self._let_expire(found)
            self._opened = (os.getpid(), found)
        return self._opened[1]

    def _let_expire(self, collection: Any) -> None:
        """The filter makes this index another one than Celery's own plain index, which other programs may make."""
        with contextlib.suppress(OperationFailure):  # an older server, or other rights: results are kept, not lost
            collection.create_index(
                "date_done",
                name=EXPIRY_INDEX,
                expireAfterSeconds=int(self.expires or 0),
                partialFilterExpression={"status": {"$exists": True}},
            )
