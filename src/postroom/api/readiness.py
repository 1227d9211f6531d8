"""Whether emails can be accepted now, found out at most once a second, because anybody may ask."""

import asyncio
import time
from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool

from postroom.errors import StoreError
from postroom.intake import Intake
from postroom.store.base import Store

FRESH_SECONDS = 1.0
OK = "ok"


class Readiness:
    """The state of each part: `ok`, or one sentence."""

    def __init__(self, *, store: Store, intake: Intake) -> None:
        self._store = store
        self._intake = intake
        self._known: Mapping[str, str] = {}
        self._known_at = -FRESH_SECONDS
        self._lock = asyncio.Lock()

    async def parts(self) -> Mapping[str, str]:
        """Part by part."""
        async with self._lock:
            if time.monotonic() - self._known_at >= FRESH_SECONDS:
                store = await run_in_threadpool(self._ping)
                self._known = {"store": store, "intake": OK if self._intake.alive else "has ended"}
                self._known_at = time.monotonic()
            return self._known

    def _ping(self) -> str:
        try:
            self._store.ping()
        except StoreError:
            return "does not answer, or cannot be written"
        return OK
