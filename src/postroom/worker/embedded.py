"""The embedded worker: threads of the API's own process that deliver and sweep. The steps are those of any worker."""

import logging
import os
import random
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from postroom import deliver, sweep
from postroom.mail.settling import Worker
from postroom.wiring import Postroom
from postroom.worker.duties import duties_of, turn_settings_of

log = logging.getLogger(__name__)

LISTEN_SECONDS = 0.5  # how long to listen for a wake-up before looking into the store


class EmbeddedWorker:
    """Delivers and sweeps in threads until it is closed."""

    def __init__(self, postroom: Postroom) -> None:
        self._postroom = postroom
        self._stop = threading.Event()
        # Under Celery a turn must end to be acknowledged; here nothing waits for its end.
        self._turn_settings = replace(turn_settings_of(postroom.settings), turn_age=timedelta.max)
        self._suspect_place = deliver.SuspectPlace()
        self._threads = [
            threading.Thread(target=self._run, args=(Worker(name=_name(i)),), name=f"worker-{i}", daemon=True)
            for i in range(postroom.settings.worker_threads)
        ]
        self._sweep = sweep.Sweep(duties_of(postroom.settings, store=postroom.store, queue=postroom.queue))

    def start(self) -> None:
        """Brings back what the process before this one had in hand, then begins. Raises `StoreError`."""
        recover_all(self._postroom)
        for thread in self._threads:
            thread.start()
        self._sweep.start()

    def close(self) -> None:
        """Finishes or hands back what is in hand, within `stop_seconds`, then ends; where it was never started, does
        nothing."""
        self._stop.set()
        self._sweep.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _run(self, worker: Worker) -> None:
        while not self._stop.is_set():
            try:
                self._take_a_turn(worker)
            except Exception:
                log.exception("unexpected error", extra={"worker": worker.name})
                self._stop.wait(1)

    def _take_a_turn(self, worker: Worker) -> None:
        resting = self._postroom.transport.resting()
        if resting:
            self._stop.wait(min(resting, LISTEN_SECONDS))
            return
        wake_up = self._postroom.wake_ups.take(LISTEN_SECONDS)
        ids: Sequence[str] = wake_up[1] if wake_up else ()
        deliver.deliver(
            ids,
            store=self._postroom.store,
            transport=self._postroom.transport,
            settings=self._turn_settings,
            worker=worker,
            random=random.random,
            stopping=self._stop.is_set,
            suspect_place=self._suspect_place,
        )


def recover_all(postroom: Postroom) -> None:
    """Ends every claim in the store: nobody else can hold one, because this process owns the store."""
    store = postroom.store
    recovered = 0
    while step := store.recover(sweep.STEP, now=store.clock(), doubt_delay=timedelta(0), everything=True):
        recovered += step
    if recovered:
        log.warning("claims recovered", extra={"count": recovered})


def _name(index: int) -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{index}"
