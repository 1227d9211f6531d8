"""The command that does the upkeep. Several may run side by side."""

import logging
import signal
import threading
from contextlib import closing

import click

from postroom import __version__, exposition, metrics, sweep, telemetry, wiring
from postroom import settings as settings_module
from postroom.cli.output import clear_errors
from postroom.metrics import Numbers
from postroom.queue.base import Queue
from postroom.settings import Settings
from postroom.store.base import Store
from postroom.worker import alive
from postroom.worker.duties import duties_of

log = logging.getLogger(__name__)


@click.command("sweep")
@clear_errors
def run_sweep() -> None:
    """Do the upkeep.

    Publishes what is due, recovers what crashed workers held, fails what is too old, and deletes what ended long ago.
    """
    settings = settings_module.load()
    wiring.require_shared(settings, "sweep")
    telemetry.set_up(settings.log_level, settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    numbers = Numbers(metrics.OF_SWEEP) if settings.metrics_address else None
    with closing(wiring.open_store(settings, numbers)) as store, closing(wiring.open_queue(settings)) as queue:
        if numbers and settings.metrics_address:
            store_collector = exposition.StoreCollector(store=store, queue=queue)
            exposition.serve(settings.metrics_address, numbers, store_collector)
        _sweep_until(stop, settings, store=store, queue=queue)
    log.info("stopped")


def _sweep_until(stop: threading.Event, settings: Settings, *, store: Store, queue: Queue) -> None:
    with closing(sweep.Sweep(duties_of(settings, store=store, queue=queue))) as sweeping:
        sweeping.start()
        log.info("started", extra={"version": __version__})
        while not stop.is_set():
            if settings.worker_alive_file and sweeping.turning():
                alive.touch(settings.worker_alive_file)
            stop.wait(alive.BEAT_SECONDS)
