"""The application that `celery -A postroom.worker.celery_app worker` runs; `postroom worker` is the same in one word.

The parent process opens neither store nor relay: what a fork would copy breaks in the child.
"""

import gc
import logging
import signal
import sys
from typing import Any

from billiard.process import current_process
from celery import signals
from celery.concurrency import get_implementation

from postroom import exposition, metrics, telemetry, wiring
from postroom import settings as settings_module
from postroom.errors import SettingsError
from postroom.metrics import Numbers
from postroom.queue.celery.pool import ChildPool
from postroom.settings import Settings
from postroom.worker import tasks
from postroom.worker.child import Child, Children
from postroom.worker.stop import StopFlag

MOST_CHILDREN = 256  # that have numbers of their own
LEAST_LEVELS = {  # what these say below it is said better by our own events, or is no concern of anybody
    "celery.worker.strategy": logging.WARNING,
    "celery.app.trace": logging.WARNING,
}


def build(settings: Settings) -> Any:
    """The application with its task, its signals and its settings."""
    wiring.require_shared(settings, "worker")
    wiring.check_parts(settings)
    app = wiring.open_celery(settings)
    app.set_current()
    stop = StopFlag()
    numbers = Numbers(metrics.OF_WORKER, rows=MOST_CHILDREN) if settings.metrics_address else None
    children = Children(lambda: Child(settings, asked_to_stop=stop.is_set, numbers=numbers))
    tasks.register(app, children)
    if numbers:  # first, so that no child counts before it has its row
        signals.worker_init.connect(lambda **_: _show(numbers, settings), weak=False)
        signals.worker_process_init.connect(lambda **_: numbers.use_row(current_process().index), weak=False)
    _connect_signals(settings, stop, children)
    return app


def _show(numbers: Numbers, settings: Settings) -> None:
    """Shows what all child processes count; ends a worker that cannot."""
    try:
        exposition.serve(settings.metrics_address or "", numbers)
    except SettingsError as error:
        sys.stderr.write(f"postroom: {error}\n")
        sys.exit(2)


def _connect_signals(settings: Settings, stop: StopFlag, children: Children) -> None:
    def log_as_we_do(**_: object) -> None:
        telemetry.set_up(settings.log_level, settings.log_format)
        for name, level in LEAST_LEVELS.items():
            logging.getLogger(name).setLevel(level)

    before = signal.getsignal(signal.SIGHUP)
    signals.setup_logging.connect(log_as_we_do, weak=False)
    signals.worker_init.connect(_require_children, weak=False)
    signals.worker_ready.connect(lambda **_: _hang_up(before), weak=False)
    signals.worker_shutting_down.connect(lambda **_: stop.set(), weak=False)
    signals.worker_process_init.connect(lambda **_: _begin(children), weak=False)
    signals.worker_process_shutdown.connect(lambda **_: children.mine().close(), weak=False)


def _require_children(sender: Any, **_: object) -> None:
    """Ends a worker that was told to deliver by other means than child processes, which would take wake-ups in vain."""
    if not issubclass(get_implementation(sender.pool_cls), ChildPool):
        sys.exit("error: emails are delivered by child processes only; leave --pool out")


def _hang_up(before: Any) -> None:
    """SIGHUP stops a worker as SIGTERM does, unless it was to be ignored (nohup). Celery would run its command anew,
    which fails for `python -m`, and finds no time for what is in hand."""
    signal.signal(signal.SIGHUP, before if before is signal.SIG_IGN else signal.getsignal(signal.SIGTERM))


def _begin(children: Children) -> None:
    """A child process begins."""
    gc.collect()
    gc.freeze()  # what is there now stays for ever
    gc.set_threshold(20_000, 20, 100)  # an email makes some hundred objects, few of them in cycles
    children.mine().start()


app = build(settings_module.load())
