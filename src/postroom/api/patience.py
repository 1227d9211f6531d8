"""How long a request waits for the store: an answer is promised in under three seconds, whatever the store does."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

SECONDS = 2.5  # for all the waits of one request together; a store that is away says so itself before


class Patience:
    """Ends with an error what is waited for too long. One timer serves all, because one each would be costly."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        self._error = error
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()  # in the order of their times
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, future: asyncio.Future[Any], seconds: float) -> None:
        """Sets the error on this future when its time is up and nothing else was set."""
        loop = future.get_loop()
        until = loop.time() + seconds
        self._forget_done()
        place = len(self._waiting)
        while place and self._waiting[place - 1][0] > until:  # only for one that has waited for the store before
            place -= 1
        self._waiting.insert(place, (until, future))
        if self._timer is None:
            self._timer = loop.call_at(until, self._end_late, loop)
        elif until < self._timer.when():
            self._timer.cancel()
            self._timer = loop.call_at(until, self._end_late, loop)

    def _forget_done(self) -> None:
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()

    def _end_late(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._forget_done()
        while self._waiting and self._waiting[0][0] <= now:
            self._waiting.popleft()[1].set_exception(self._error())
            self._forget_done()
        self._timer = loop.call_at(self._waiting[0][0], self._end_late, loop) if self._waiting else None
