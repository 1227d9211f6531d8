"""Whether emails can be accepted now, found out at most once a second, because anybody may ask."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool

from postroom.errors import QueueUnavailable, StoreError, StoreFull
from postroom.intake import Intake
from postroom.queue.base import Queue
from postroom.store.base import Store

log = logging.getLogger(__name__)

FRESH_SECONDS = 1.0
PATIENCE_SECONDS = 2.5
OK = "ok"
FULL = "its disk is full: free some space"
AWAY = "does not answer, or cannot be written"
RELAY_DOWN = "is down, or refuses us; emails are accepted, and tried until their deadline (the log says why)"
NEEDED = frozenset({"store", "intake"})  # the rest costs time, and no submission


class Readiness:
    """The state of each part: `ok`, or one sentence. `queue` is None where no broker is needed, `relay_is_down` where
    another process delivers."""

    def __init__(
        self,
        *,
        store: Store,
        intake: Intake,
        queue: Queue | None,
        relay_is_down: Callable[[], bool] | None = None,
    ) -> None:
        self._intake = intake
        self._relay_is_down = relay_is_down
        self._probes = {"store": _Probe(lambda: _ping_store(store))}
        if queue is not None:
            self._probes["broker"] = _Probe(lambda: _ping_broker(queue))
        self._known: Mapping[str, str] = {}
        self._known_at = -FRESH_SECONDS
        self._lock = asyncio.Lock()

    async def parts(self) -> Mapping[str, str]:
        """Part by part, within three seconds."""
        async with self._lock:
            if time.monotonic() - self._known_at >= FRESH_SECONDS:
                states = await asyncio.gather(*(probe.state() for probe in self._probes.values()))
                intake = OK if self._intake.alive else "has ended"
                self._known = {**dict(zip(self._probes, states, strict=True)), "intake": intake}
                self._known_at = time.monotonic()
            return self._known

    async def all_parts(self) -> Mapping[str, str]:
        """Also the relay, without which emails are accepted all the same. What it said is in the log alone."""
        parts = await self.parts()
        if self._relay_is_down is None:
            return parts
        return {**parts, "relay": RELAY_DOWN if self._relay_is_down() else OK}


def _ping_store(store: Store) -> str:
    try:
        store.ping()
    except StoreError as error:
        log.error("store unavailable", extra={"reason": str(error)})  # which disk, for example: anybody may ask
        return FULL if isinstance(error, StoreFull) else AWAY
    return OK


def _ping_broker(queue: Queue) -> str:
    try:
        queue.ping()
    except QueueUnavailable:
        return "does not answer, or refuses us; emails are accepted, and delivered more slowly"
    return OK


class _Probe:
    """Asks one part, never twice at a time: a part that hangs keeps one thread busy, however many ask about it."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask
        self._under_way: asyncio.Task[str] | None = None

    async def state(self) -> str:
        if self._under_way is None:
            self._under_way = asyncio.create_task(run_in_threadpool(self._ask))
        done, _ = await asyncio.wait({self._under_way}, timeout=PATIENCE_SECONDS)
        if not done:
            return f"does not answer within {PATIENCE_SECONDS:g} s"
        answered, self._under_way = self._under_way, None
        return answered.result()
