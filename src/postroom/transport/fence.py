"""Asking the fence, for every transport."""

import logging
from collections.abc import Collection, Sequence

from postroom.errors import StoreError
from postroom.transport.base import Fence

log = logging.getLogger(__name__)


def ask(fence: Fence, ids: Sequence[str]) -> Collection[str]:
    """Those of the ids whose final dot may be written; none if the fence fails, whatever the reason."""
    if not ids:
        return ()
    try:
        return fence(ids)
    except StoreError as exc:
        log.warning("fence failed", extra={"count": len(ids), "reason": str(exc)})
        return ()
    except Exception as exc:
        log.warning("fence failed", extra={"count": len(ids), "reason": type(exc).__name__}, exc_info=True)
        return ()
