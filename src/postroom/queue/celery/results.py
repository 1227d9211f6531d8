"""Where the results of chunks are kept: a way to see whether they are, and Celery's MongoDB results with what they lack
(they expire by themselves, and no client outlives a fork)."""

import contextlib
import os
import uuid
from typing import Any

from celery.backends.mongodb import MongoBackend
from celery.states import SUCCESS
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri
from redis.exceptions import RedisError

from postroom.errors import ResultsUnavailable

EXPIRY_INDEX = "postroom_expiry"


def ping(app: Any, where: str) -> None:
    """Keeps one result and forgets it. Raises `ResultsUnavailable`; `where` is the host to name."""
    task = f"postroom-check-{uuid.uuid4()}"
    try:
        app.backend.store_result(task, {}, SUCCESS)
        app.backend.forget(task)
    except (PyMongoError, RedisError, OSError, RuntimeError) as error:  # the last is Celery's, out of patience
        server = f"the result backend at {where} (CELERY_RESULT_BACKEND, else POSTROOM_STORE_URL)"
        reason = type(error).__name__
        raise ResultsUnavailable(
            f"{server} does not keep results ({reason}); emails are delivered all the same"
        ) from error


class MongoResults(MongoBackend):  # type: ignore[misc]  # Celery has no types
    """Chunk results in `celery_taskmeta`. A client that was opened before a fork is never used after it."""

    _opened: tuple[int, Any] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.user:  # Celery takes the URL apart, and with it goes the database that the user belongs to
            self.options.setdefault("authSource", parse_uri(self.url)["database"] or "admin")

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
