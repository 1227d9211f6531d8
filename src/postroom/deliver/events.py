"""What a turn logs. When each event happens is said in `telemetry`."""

import logging
from collections.abc import Mapping

from postroom.errors import StoreError
from postroom.mail.email import Status
from postroom.store.base import Settlement

log = logging.getLogger(__name__)


def store_unavailable(error: StoreError, *, worker: str) -> None:
    """The store did not answer this worker."""
    log.error("store unavailable", extra={"reason": str(error), "worker": worker})


def unreadable(email_id: str, error: StoreError) -> None:
    """What the store has of a claimed email makes no sense."""
    log.error("email unreadable", extra={"email_id": email_id, "reason": str(error)})


def not_composed(email_id: str, error: Exception) -> None:
    """The worker had not what it takes to compose an email."""
    log.error("email not composed", extra={"email_id": email_id, "reason": repr(error)})


def written(settlement: Settlement) -> None:
    """A settlement was written: worth a line if the email has failed."""
    life = settlement.life
    if life.status is Status.FAILED:
        reason = life.last_error.kind if life.last_error else ""
        log.warning("email failed", extra={**_named(settlement), "reason": reason})


def refused(settlement: Settlement) -> None:
    """A settlement was not written, because its claim no longer held."""
    log.warning("claim had lapsed", extra=_named(settlement))


def ended(verdicts: Mapping[str, int], *, worker: str, seconds: float) -> None:
    """A turn has ended: worth a line if it had emails."""
    if verdicts:
        log.info("turn ended", extra={"worker": worker, "seconds": round(seconds, 3), **verdicts})


def _named(settlement: Settlement) -> dict[str, object]:
    return {"email_id": settlement.email_id, "attempt": settlement.life.attempts}
