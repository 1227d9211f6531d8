"""Stage 5, one turn: claim, compose, hand off, settle as outcomes arrive. Called by every kind of worker.

A turn begins with a chunk of ids and goes on with whatever else is due, because a relay that takes seconds an email
must be kept busy with many at once. No store handle is held while the relay talks.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from postroom.deliver import events
from postroom.deliver.suspects import SuspectPlace, Suspects
from postroom.deliver.turn import Turn
from postroom.deliver.turn_settings import TurnSettings
from postroom.mail.retry import Random
from postroom.mail.settling import Worker
from postroom.store.base import Store
from postroom.transport.base import Transport

__all__ = ["SuspectPlace", "TurnSettings", "deliver"]


def deliver(
    ids: Sequence[str],
    *,
    store: Store,
    transport: Transport,
    settings: TurnSettings,
    worker: Worker,
    random: Random,
    stopping: Callable[[], bool],
    suspect_place: SuspectPlace | None = None,
) -> Mapping[str, int]:
    """Takes one turn and returns how many recipients had which verdict.

    When `stopping` says so, it takes nothing new, waits `settings.stop_limit` for hand-offs under way, and hands the
    rest back. Faults of the store do not end it: what is settled late is retried for as long as a claim may last, then
    the lease brings the email back. Turns that one process takes side by side must share a `suspect_place`.
    """
    began = time.monotonic()
    suspects = Suspects(suspect_place or SuspectPlace())
    turn = Turn(
        store=store,
        transport=transport,
        settings=settings,
        worker=worker,
        random=random,
        stopping=stopping,
        ids=deque(ids),
        suspects=suspects,
    )
    try:
        _hand_off(turn, transport)
        turn.hand_back()
    finally:
        suspects.leave_unless()
    events.ended(turn.verdicts, worker=worker.name, seconds=time.monotonic() - began)
    return turn.verdicts


def _hand_off(turn: Turn, transport: Transport) -> None:
    """Hands off and settles until nothing is left to do, or a stop has waited long enough."""
    with closing(transport.send(turn.take, fence=turn.fence)) as hand_offs:
        for ended in hand_offs:
            turn.settle(ended)
            turn.renew()
            if turn.out_of_patience():
                break
