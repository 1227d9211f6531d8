"""The time of MongoDB's server, which is asked for it now and then. Nobody waits for that but who asks first."""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from pymongo.errors import PyMongoError

from postroom.store.server_clock import ServerClock


class AskingClock(ServerClock):
    """A server's clock that asks for the time itself. Raises `PyMongoError` only as long as the server was never
    reached; from then on a thread asks, so that it may be called on an event loop."""

    def __init__(
        self,
        ask: Callable[[], datetime],
        *,
        sync_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` returns the server's time; it may raise `PyMongoError`."""
        super().__init__(good_for_seconds=sync_seconds, monotonic=monotonic)
        self._ask = ask
        self._syncing = threading.Lock()

    def _now(self) -> tuple[float, float]:
        if self._difference is None:
            with self._syncing:
                if self._difference is None:
                    self._sync()
        monotonic, seconds = super()._now()
        if monotonic >= self._good_until and self._syncing.acquire(blocking=False):
            threading.Thread(target=self._sync_again, name="store-clock", daemon=True).start()
        return monotonic, seconds

    def _sync_again(self) -> None:
        """Ends the turn that `_now` began."""
        try:
            self._sync()
        except PyMongoError:  # whoever needs the server next will report it; until then the old difference is good
            self._good_until = self._monotonic() + self._good_for_seconds
        finally:
            self._syncing.release()

    def _sync(self) -> None:
        asked_at = self._monotonic()
        server_seconds = self._ask().timestamp()
        self.learn(server_seconds, asked_at=asked_at, answered_at=self._monotonic())
