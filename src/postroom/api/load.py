"""Backpressure: refuses work (503 with Retry-After) rather than queueing it without end."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

from postroom.api.exchange import Exchange
from postroom.errors import Overloaded, StoreError

UNCOUNTED_BYTES = 64 * 1024  # of a request; with the most connections they take no more than large ones may
FRESH_SECONDS = 1.0
PATIENCE_SECONDS = 1.0  # what was known before must do when a reading takes longer


class Load:
    """Requests under way in this process, and the bytes that they hold: their bodies, and large answers until they are
    sent. A request that still waits for its body counts by its bytes only: slow clients are many, and cheap."""

    def __init__(self, *, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._large: Counter[str] = Counter()  # bytes of large requests by API key
        self.under_way = 0
        self.bytes = 0

    def enter(self) -> None:
        """Counts a request; raises `Overloaded` when there are too many."""
        if self.under_way >= self._most:
            raise Overloaded("too many requests are under way; try again", retry_after_seconds=1)
        self.under_way += 1

    def leave(self) -> None:
        """The request has its answer, which remains to be sent."""
        self.under_way -= 1

    def let_go(self, exchange: Exchange) -> None:
        """What the request holds is free; at the end, or earlier."""
        self.bytes -= exchange.held_bytes
        if exchange.held_bytes > UNCOUNTED_BYTES:
            self._large[exchange.key_id] -= exchange.held_bytes
            self._large += Counter()  # forgets those that hold nothing
        exchange.held_bytes = 0

    def hold(self, exchange: Exchange, size: int) -> None:
        """Counts bytes that a request holds; raises `Overloaded` when too many are in memory. `let_go` gives them back.

        Large requests of one key take half of the room at most, and small ones are always let in, so that nobody can
        keep others out by a few large requests.
        """
        before, held = exchange.held_bytes, exchange.held_bytes + size
        exchange.held_bytes = held
        self.bytes += size
        if held <= UNCOUNTED_BYTES:
            return
        self._large[exchange.key_id] += size if before > UNCOUNTED_BYTES else held
        of_this_key = self._large[exchange.key_id]
        if self.bytes > self._most_bytes or (of_this_key > self._most_bytes // 2 and of_this_key > held):
            raise Overloaded("too many large requests are under way; try again", retry_after_seconds=2)


class Backlog:
    """Unfinished emails in the store, read at most once a second; what was accepted since is added."""

    def __init__(self, read: Callable[[], int], *, most: int) -> None:
        self._read = read
        self._most = most
        self._known = 0
        self._read_at = -FRESH_SECONDS
        self._reading: asyncio.Task[None] | None = None

    async def reading(self) -> int:
        """How many there are, not older than a second while the store answers; what is known when it does not."""
        self._refresh_if_stale()
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=PATIENCE_SECONDS)
        return self._known

    def added(self, count: int) -> None:
        """So many emails were accepted."""
        self._known += count

    def has_room(self, count: int = 1) -> bool:
        """Whether there is room for so many more, as far as is known; before it refuses, one should `check`."""
        self._refresh_if_stale()
        return self._known + count <= self._most

    async def check(self, count: int = 1) -> None:
        """Raises `Overloaded` when there is no room for so many more. Waits for a reading only before it refuses."""
        if not self.has_room(count) and await self.reading() + count > self._most:
            raise Overloaded("too many emails wait to be sent; try again later", retry_after_seconds=5)

    def _refresh_if_stale(self) -> None:
        if self._reading is None and time.monotonic() - self._read_at >= FRESH_SECONDS:
            self._reading = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            self._known = await run_in_threadpool(self._read)
        except StoreError:
            pass  # the submission will meet the same trouble, and say so
        finally:
            self._read_at = time.monotonic()
            self._reading = None
