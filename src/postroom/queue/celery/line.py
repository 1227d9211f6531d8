"""The publisher's own line to the broker: one connection with confirms, dropped after any fault, bounded in time.

One channel and no second use after a fault, because a late confirm would vouch for the wrong message. Dropped without
the closing handshake, because under a memory alarm nobody answers it.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from amqp.exceptions import MessageNacked
from kombu import Connection

from postroom.errors import QueueUnavailable
from postroom.queue.celery import faults, tls, topology

T = TypeVar("T")

HEARTBEAT_SECONDS = 10


class Line:
    """A connection that is made when it is needed, for one user at a time.

    Each wait for the broker ends after `patience_seconds`. For `rest_seconds` after a fault every use is refused at
    once, so that a broker that is down does not cost the full patience each time.
    """

    def __init__(self, url: str, *, patience_seconds: float, rest_seconds: float) -> None:
        self._connection = Connection(
            url,
            connect_timeout=patience_seconds,
            heartbeat=HEARTBEAT_SECONDS,
            ssl=tls.options(url),
            transport_options={
                "confirm_publish": True,
                "read_timeout": patience_seconds,
                "write_timeout": patience_seconds,
            },
        )
        self._patience_seconds = patience_seconds
        self._rest_seconds = rest_seconds
        self._channel: Any = None
        self._opened_at = 0.0
        self._lock = threading.Lock()
        self._fault: tuple[float, str] | None = None  # until when to rest, and why
        self._closed = threading.Event()
        self._keeper: threading.Thread | None = None

    def use(self, step: Callable[[Any], T]) -> T:
        """Runs the step with the channel. A line that had died unnoticed is replaced, once. Raises
        `QueueUnavailable`."""
        if not self._lock.acquire(timeout=self._patience_seconds):
            raise QueueUnavailable(f"{faults.where(self._connection)} is slow: an earlier request still waits for it")
        try:
            if self._fault and time.monotonic() < self._fault[0]:
                raise QueueUnavailable(self._fault[1])
            return self._use(step)
        finally:
            self._lock.release()

    def _use(self, step: Callable[[Any], T]) -> T:
        began, fresh = time.monotonic(), self._channel is None
        try:
            return step(self._open())
        except MessageNacked as error:  # a clear word on this message alone; still, a new channel may do better
            if time.monotonic() - self._opened_at > self._rest_seconds:
                self._drop()
            raise QueueUnavailable(
                faults.sentence(error, self._connection, patience_seconds=self._patience_seconds)
            ) from error
        except Exception as error:  # whatever it was, the channel cannot be trusted any more
            self._drop()
            if not fresh and time.monotonic() - began < self._patience_seconds / 4:
                return self._use(step)
            sentence = faults.sentence(error, self._connection, patience_seconds=self._patience_seconds)
            self._fault = (time.monotonic() + self._rest_seconds, sentence)
            raise QueueUnavailable(sentence) from error

    def _open(self) -> Any:
        if self._channel is None:
            if self._closed.is_set():
                raise ConnectionError("closed")
            others = len(self._connection.alt) - 1 if self._connection.alt else 0
            self._connection.ensure_connection(
                max_retries=max(0, others), interval_start=0, interval_step=0.1, reraise_as_library_errors=False
            )
            channel = self._connection.channel()
            topology.declare(channel)
            self._channel = channel
            self._opened_at = time.monotonic()
            self._fault = None
            self._keep_alive()
        return self._channel

    def _drop(self) -> None:
        self._channel = None
        with contextlib.suppress(Exception):  # what is dropped may be in any state
            self._connection.collect()

    # -- heartbeats -------------------------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._beat, name="broker-heartbeat", daemon=True)
            self._keeper.start()

    def _beat(self) -> None:
        """The broker hangs up on clients that are silent for two heartbeats; and a dead broker shows here first."""
        while not self._closed.wait(HEARTBEAT_SECONDS / 4):
            with self._lock:
                if self._channel is None:
                    continue
                try:
                    self._connection.heartbeat_check()
                    with contextlib.suppress(TimeoutError):
                        self._connection.drain_events(timeout=0.001)
                except Exception:
                    self._drop()

    def close(self) -> None:
        """Says goodbye if somebody listens. May be called twice."""
        self._closed.set()
        if self._keeper is not None:
            self._keeper.join()
        with self._lock:
            if self._channel is not None:
                with contextlib.suppress(Exception):
                    self._connection.connection.close()
            self._drop()
