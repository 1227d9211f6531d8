"""What one child process of a Celery worker delivers with: its own store and transport, one turn at a time.

Wake-ups bring turns; where none comes, because the broker is away or lost it, the child asks the store itself.
"""

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from postroom import deliver, wiring
from postroom.errors import StoreError
from postroom.mail.settling import Worker
from postroom.metrics import Numbers
from postroom.settings import Settings
from postroom.store.base import Store
from postroom.transport.base import Transport
from postroom.worker import alive
from postroom.worker.alive import BEAT_SECONDS
from postroom.worker.duties import turn_settings_of

log = logging.getLogger(__name__)

REST_SLICE_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0  # a task waits so long for the turn that polling began, which finds its emails, too
LONGEST_REST_SECONDS = 10.0  # a wake-up is held back so long while the relay rests, then left to the sweep


class Child:
    """Takes turns for tasks, and of its own accord after `poll_seconds` without any."""

    def __init__(
        self, settings: Settings, *, asked_to_stop: Callable[[], bool], numbers: Numbers | None = None
    ) -> None:
        self._settings = settings
        self._numbers = numbers
        self._turn_settings = turn_settings_of(settings)
        self._name = f"{socket.gethostname()}/{os.getpid()}"
        self._asked_to_stop = asked_to_stop
        self._closing = threading.Event()
        self._turn = threading.Lock()
        self._ended = time.monotonic() - random.random() * settings.poll_seconds  # noqa: S311  # children do not poll in step
        self._beaten = 0.0
        self._parts: tuple[Store, Transport] | None = None
        self._poller = threading.Thread(target=self._poll, name="poll", daemon=True)

    def start(self) -> None:
        """Begins to ask the store when no wake-up comes."""
        self._poller.start()

    def stop(self) -> None:
        """Asks the turn under way to end, and lets no other begin. Safe in a signal handler."""
        self._closing.set()

    def close(self) -> None:
        """Finishes or hands back what is in hand, within the grace of a stop, and lets go of everything."""
        self.stop()
        if self._poller.is_alive():
            self._poller.join()
        with self._turn:
            if self._parts is not None:
                store, transport = self._parts
                transport.close()
                store.close()
                self._parts = None

    @property
    def stopping(self) -> bool:
        """Whether nothing new may begin."""
        return self._closing.is_set() or self._asked_to_stop()

    def take_turn(self, ids: Sequence[str], *, task: str | None = None) -> Mapping[str, int]:
        """Delivers these emails and what else is due; returns how many recipients had which verdict.

        Takes none if another turn lasts: a task that waited for the whole of one and then took its own might be killed.
        """
        if not self._turn.acquire(timeout=LONGEST_WAIT_SECONDS):
            return {}
        try:
            return self._take_turn(ids, task)
        except StoreError as error:
            log.error("store unavailable", extra={"reason": str(error), "worker": self._name})
            return {}
        finally:
            self._ended = time.monotonic()
            self._turn.release()

    def _take_turn(self, ids: Sequence[str], task: str | None) -> Mapping[str, int]:
        store, transport = self._open()
        self._let_rest(transport)
        verdicts = deliver.deliver(
            ids,
            store=store,
            transport=transport,
            settings=self._turn_settings,
            worker=Worker(name=self._name, task=task),
            random=random.random,
            stopping=self._beat_and_see,
        )
        return dict(verdicts)

    def _open(self) -> tuple[Store, Transport]:
        """The store and the transport, opened by this process and by no parent of it."""
        if self._parts is None:
            store = wiring.open_store(self._settings, self._numbers)
            self._parts = store, wiring.open_transport(self._settings, self._numbers)
        return self._parts

    def _let_rest(self, transport: Transport) -> None:
        deadline = time.monotonic() + LONGEST_REST_SECONDS
        while (resting := transport.resting()) and time.monotonic() < deadline and not self._beat_and_see():
            time.sleep(min(resting, REST_SLICE_SECONDS))  # not on the event: its lock is no place for a signal handler

    # -- without wake-ups -------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Polls while it is idle: at once again after a poll that found work, for then nobody else wakes us up."""
        pause = self._settings.poll_seconds
        while not self._closing.wait(min(BEAT_SECONDS, pause)) and not self._asked_to_stop():
            if self._turn.locked():
                continue
            self._beat()
            if time.monotonic() - self._ended >= pause:
                pause = BEAT_SECONDS if self._found_work() else self._settings.poll_seconds

    def _found_work(self) -> bool:
        try:
            return bool(self.take_turn(()))
        except Exception:
            log.exception("unexpected error", extra={"worker": self._name})
            return False

    # -- liveness ---------------------------------------------------------------------------------------------------

    def _beat_and_see(self) -> bool:
        self._beat()
        return self.stopping

    def _beat(self) -> None:
        """Touches the file that tells a health check that this loop turns."""
        path = self._settings.worker_alive_file
        if path is None or time.monotonic() - self._beaten < BEAT_SECONDS:
            return
        self._beaten = time.monotonic()
        alive.touch(path)


class Children:
    """The child of the present process, made when it is first asked for; none is carried over a fork."""

    def __init__(self, make: Callable[[], Child]) -> None:
        self._make = make
        self._made: tuple[int, Child] | None = None

    def mine(self) -> Child:
        """This process's child."""
        if self._made is None or self._made[0] != os.getpid():
            self._made = os.getpid(), self._make()
        return self._made[1]
