"""Fills a store with emails that were sent long ago, through its own `add`."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from postroom import keyring
from postroom.errors import StoreUnavailable
from postroom.mail.email import Address, Email, Event, Kind, Life, Recipient, RecipientStatus, Status
from postroom.store.base import Store, Submission

AT_ONCE = 500
SPAN = timedelta(days=20)  # over which a million of them were accepted
MILLION = 1_000_000


def begin_of(store: Store) -> datetime:
    """When the first of them was accepted, if the last was yesterday."""
    return store.clock() - SPAN - timedelta(days=1)


def fill(store: Store, first: int, last: int, *, begin: datetime, told: Callable[[int], None]) -> None:
    """Adds the emails with these numbers. One in fifty bounced, one in ten went to one address, all have two tags."""
    now = store.clock()
    for start in range(first, last, AT_ONCE):
        emails = tuple(email(number, begin) for number in range(start, min(start + AT_ONCE, last)))
        submission = Submission(account=keyring.DEFAULT_ACCOUNT, emails=emails, answer="{}")
        _add(store, submission, now)
        told(start)


def _add(store: Store, submission: Submission, now: datetime) -> None:
    for last in (False, False, False, True):
        try:
            store.add([submission], now=now, wake_up_at=now)
        except StoreUnavailable:  # nothing was written: a busy machine takes longer than the store's patience
            if last:
                raise
        else:
            return


def email(number: int, begin: datetime) -> Email:
    """The email with that number; accepted the later, the higher it is."""
    milliseconds = round(number / MILLION * SPAN.total_seconds() * 1000)
    at = begin + timedelta(milliseconds=milliseconds)
    address = "news@example.net" if number % 10 == 0 else f"user{number % 200_000}@example.net"
    bounced = number % 50 == 1
    return Email(
        id=email_id(at, number),
        account=keyring.DEFAULT_ACCOUNT,
        message_id=f"<{number}@bench.example>",
        created_at=at,
        sender=Address("ann@example.com", "Ann Example"),
        to=(Address(address),),
        subject=f"Order {number}",
        text="The quick brown fox jumps over the lazy dog.\n" * 20,
        tags=(("campaign", str(number % 1000)), ("kind", "receipt")),
        max_attempts=25,
        life=_life(address, at, bounced=bounced),
    )


def email_id(at: datetime, number: int) -> str:
    """A version 7 UUID of that time."""
    return str(uuid.UUID(f"{round(at.timestamp() * 1000):012x}7{0:03x}8{number:015x}"))


def _life(address: str, at: datetime, *, bounced: bool) -> Life:
    state = RecipientStatus.BOUNCED if bounced else RecipientStatus.SENT
    return Life(
        status=Status.BOUNCED if bounced else Status.SENT,
        recipients=(Recipient(address=address, kind=Kind.TO, status=state, smtp_code=550 if bounced else 250, at=at),),
        expires_at=at + timedelta(hours=72),
        attempts=1,
        last_attempt_at=at,
        sent_at=None if bounced else at,
        timeline=(
            Event(event="accepted", at=at, attempt=0),
            Event(event=state.value, at=at, attempt=1, detail={"relay": "127.0.0.1:25", "worker": "bench"}),
        ),
    )
