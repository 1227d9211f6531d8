"""When there are too many connections: those that nobody uses give way, so that health checks and clients get in."""

from collections.abc import Iterable
from typing import Any


def make_room(connections: Iterable[Any], newcomer: object) -> bool:
    """Closes the connection that has been idle for longest; False if none but the newcomer is idle.

    All are `GuardedProtocol`s. A client whose idle connection is closed sends its next request on a new one.
    """
    others = (one for one in connections if one is not newcomer)
    idle = [(since, n, one) for n, one in enumerate(others) if (since := one.idle_since) is not None]
    if not idle:
        return False
    min(idle)[2].transport.close()
    return True
