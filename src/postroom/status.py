"""Stage 7, the read side: what is known of an email, in the public words. Reads the store and nothing else."""

from collections.abc import Mapping

from postroom.errors import EmailNotFound
from postroom.mail.email import Email, Status
from postroom.store.base import Page, Query, Store

LAST_EVENT: Mapping[Status, str] = {  # the closed set that existing clients know
    Status.SCHEDULED: "scheduled",
    Status.QUEUED: "queued",
    Status.SENDING: "queued",
    Status.RETRYING: "delivery_delayed",
    Status.SENT: "sent",
    Status.DELIVERED: "delivered",
    Status.BOUNCED: "bounced",
    Status.COMPLAINED: "complained",
    Status.FAILED: "failed",
    Status.UNCERTAIN: "delivery_delayed",
    Status.CANCELED: "canceled",
    Status.SUPPRESSED: "suppressed",
}


def read(account: str, email_id: str, *, store: Store) -> Email:
    """The whole email but for attachment contents. Raises `EmailNotFound`."""
    email = store.get(account, email_id)
    if email is None:
        raise EmailNotFound(email_id)
    return email


def page(query: Query, *, store: Store) -> Page:
    """One page of a listing. Raises `EmailNotFound` for an unknown cursor."""
    return store.list(query)
