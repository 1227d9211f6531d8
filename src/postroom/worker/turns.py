"""Taking one turn, for every kind of worker: what is due is looked for until nothing is, and the end is logged."""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence

from postroom import deliver
from postroom.mail.settling import Worker
from postroom.store.base import Store
from postroom.transport.base import Transport

log = logging.getLogger(__name__)


def take(
    ids: Sequence[str],
    *,
    store: Store,
    transport: Transport,
    settings: deliver.TurnSettings,
    worker: Worker,
    stopping: Callable[[], bool],
    suspect_place: deliver.SuspectPlace | None = None,
) -> Mapping[str, int]:
    """Delivers these emails and what else is due; returns how many recipients had which verdict."""
    began = time.monotonic()
    verdicts = deliver.deliver(
        ids,
        store=store,
        transport=transport,
        settings=settings,
        worker=worker,
        random=random.random,
        stopping=stopping,
        refill=True,
        suspect_place=suspect_place,
    )
    if verdicts:
        seconds = round(time.monotonic() - began, 3)
        log.info("turn ended", extra={"worker": worker.name, "seconds": seconds, **verdicts})
    return verdicts
