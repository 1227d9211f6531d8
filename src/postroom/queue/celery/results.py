"""Where the results of chunks are kept: a way to see whether they are, and Celery's MongoDB results with what they lack
(they expire by themselves, and no client outlives a fork)."""

import contextlib
import os
import uuid
from typing import Any
from urllib.parse import unquote, urlsplit

from celery.backends.mongodb import MongoBackend
from celery.states import SUCCESS
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError
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
    """Chunk results in `celery_taskmeta`. A client that was opened before a fork is never used after it.

    The URL is left to the driver. Celery would take it apart, ask the DNS about `mongodb+srv://…` before the worker has
    begun, and end it where there is no answer; and with the URL goes the database that its user belongs to.
    """

    _opened: tuple[int, Any] | None = None
    _connection: Any = None
    database_name = "celery"  # unless the URL names one

    def __init__(self, *arguments: Any, url: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.url = url
        self.database_name = unquote(urlsplit(url).path.removeprefix("/")) or self.database_name

    def _get_connection(self) -> Any:
        """A client of this process; it connects at the first use."""
        if self._connection is None:
            self._connection = MongoClient(self.url, connect=False, **self.options)
        return self._connection

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
