"""One turn of a worker, with the settings that a test wants changed."""

from collections.abc import Callable, Mapping

from postroom.deliver import SuspectPlace, deliver
from postroom.mail.settling import Worker
from postroom.store.base import Store
from postroom.transport.base import Transport
from tests import make


def turn(
    store: Store,
    transport: Transport,
    *ids: str,
    stopping: Callable[[], bool] = lambda: False,
    suspect_place: SuspectPlace | None = None,
    **settings: object,
) -> Mapping[str, int]:
    """Takes a turn with these ids and whatever else is due; how many recipients had which verdict. `settings` are
    members of `TurnSettings`."""
    return deliver(
        ids,
        store=store,
        transport=transport,
        settings=make.turn_settings(**settings),
        worker=Worker(name="w1"),
        random=lambda: 0.5,
        stopping=stopping,
        suspect_place=suspect_place,
    )
