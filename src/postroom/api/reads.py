"""Group reads, the dual of group commit: the reads that wait while one look-up is under way share the next."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping

from postroom.api.patience import Patience
from postroom.errors import EmailNotFound, OutcomeUnknown, StoreUnavailable
from postroom.mail.email import Email
from postroom.store.base import AccountAndId, Store

MOST_IN_A_GROUP = 50  # emails; bounds the memory that their bodies take at once

_Found = Email | Exception | None


class Reads:
    """Reads emails for the requests on one event loop. Each sees what was stored before it came."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[tuple[AccountAndId, asyncio.Future[_Found]]] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._patience = Patience(lambda: StoreUnavailable("the store is slow"))

    async def read(self, account: str, email_id: str, *, seconds: float) -> Email:
        """The whole email but for attachment contents. Raises `EmailNotFound`; `StoreUnavailable` after `seconds`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Found] = loop.create_future()
        self._patience.watch(future, seconds)
        self._waiting.append(((account, email_id), future))
        if self._reading is None:
            self._reading = loop.create_task(self._read_all())
        found = await future
        if found is None:
            raise EmailNotFound(email_id)
        if isinstance(found, Exception):
            raise found
        return found

    async def _read_all(self) -> None:
        """Group after group, until nobody waits."""
        while self._waiting:
            next_ones = (self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_A_GROUP)))
            if group := [(key, future) for key, future in next_ones if not future.done()]:
                await self._read_group(group)
        self._reading = None

    async def _read_group(self, group: list[tuple[AccountAndId, asyncio.Future[_Found]]]) -> None:
        wanted = {key for key, _ in group}
        found = await asyncio.get_running_loop().run_in_executor(None, self._look_up, wanted)
        for key, future in group:
            if not future.done():
                future.set_result(found.get(key))

    def _look_up(self, wanted: Collection[AccountAndId]) -> Mapping[AccountAndId, _Found]:
        """What is there. An outage is everybody's; an email that cannot be read is no trouble to the others."""
        try:
            return self._store.get_many(wanted)
        except (StoreUnavailable, OutcomeUnknown) as error:
            return dict.fromkeys(wanted, error)
        except Exception as error:
            if len(wanted) == 1:
                return dict.fromkeys(wanted, error)
            return {key: found for one in wanted for key, found in self._look_up([one]).items()}
