"""The store port: the transitions of an email's life, each one atomic, in the words of the trade.

Every method takes `now` from `clock()`, the store's own clock, so that leases mean the same on every host; only
`recover` takes it from `lapse_clock()`. Every method may raise `StoreUnavailable` (nothing written) or
`OutcomeUnknown`, within about three seconds. Methods may be called from many threads, and from many processes where
the adapter is not an embedded one.

A record that cannot be read (damaged, or of a newer Postroom) is reported as `email unreadable`, left as it is, and
harms no other: steps and pages that concern many pass over it. Who asks for it alone gets a `StoreError`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from msgspec import Struct

from postroom.mail.api_key import ApiKey
from postroom.mail.email import Email, Lane, Life, Status

AccountAndId: TypeAlias = tuple[str, str]
"""Which email, asked for by whom."""


class IdempotencyKey(Struct, frozen=True, kw_only=True):
    """The client's word for "same request". `fingerprint` is a hash of the payload; scope is account and endpoint."""

    endpoint: str
    key: str
    fingerprint: str
    expires_at: datetime


class Submission(Struct, frozen=True, kw_only=True):
    """One request's emails (one, or a client's batch), stored all or not at all; `answer` is replayed for its key."""

    account: str
    emails: tuple[Email, ...]
    answer: str
    idempotency: IdempotencyKey | None = None


class Added(Struct, frozen=True, kw_only=True):
    """The submission is durable; or, if `replayed`, an earlier one with its key was, and this is its answer."""

    answer: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class KeyReused:
    """Nothing was stored: the idempotency key was used with another payload."""


class Claim(Struct, frozen=True, kw_only=True):
    """The right to work on an email until its lease ends; `token` proves it. `email.life` already counts this attempt
    and is `sending`."""

    email: Email
    token: str


class Settlement(Struct, frozen=True, kw_only=True):
    """What a claim ended with: the email's new life, written only if the claim still holds."""

    email_id: str
    token: str
    life: Life


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A page of one account's emails, newest first. `after` and `before` are ids and exclude each other; the rest
    narrows: `to` is a recipient's whole address and `subject` a beginning, letter case ignored in both; `tag` is `name`
    or `name:value`; `created_after` is within the span, `created_before` is not."""

    account: str
    limit: int
    after: str | None = None
    before: str | None = None
    status: Collection[Status] = ()
    to: str | None = None
    subject: str | None = None
    tag: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Emails without bodies, headers, timelines and attachment contents; `has_more` in the direction that was asked."""

    emails: tuple[Email, ...]
    has_more: bool


class Store(Protocol):
    """Where emails live. All promises rest on it."""

    def clock(self) -> datetime:
        """The store's time: aware, UTC, whole milliseconds. Once it has been told it is told without waiting."""

    def lapse_clock(self) -> datetime:
        """The time by which claims lapse. Unlike `clock()` it goes back where the store's clock was set back: processes
        that began after that make claims by an earlier time than this process has, and those have not lapsed."""

    # -- submission ---------------------------------------------------------------------------------------------

    def add(self, submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime) -> list[Added | KeyReused]:
        """Stores all of them by one durable write; an answer for each, in order.

        Of several with one unexpired idempotency key exactly one is stored, also when they arrive together or from
        several processes. Immediate emails count as published until `wake_up_at`. Raises as a whole; then nothing of
        any submission is stored. `KeyBusy` says that only the submissions with one of the keys are the trouble.
        """

    def replay(self, account: str, key: IdempotencyKey, *, now: datetime) -> str | None:
        """The answer to an earlier, durable submission with this unexpired key and payload; None if there was none."""

    # -- delivery -----------------------------------------------------------------------------------------------

    def claim(self, ids: Sequence[str], *, worker: str, now: datetime, lease: timedelta) -> list[Claim]:
        """Of these, the ones that are due, within their deadline and unheld go to exactly one caller, as `sending`; the
        attempt is counted now. Unknown ids are passed over. In the order of `ids`.

        Of large ones it may claim only as many as can be read in time; the others stay due. What was claimed and does
        not arrive in time is given back, if the store can still be told. So is a record that cannot be read, without
        counting anything; it is due again in a minute, out of the way of the others.
        """

    def claim_due(
        self, limit: int, *, lowest: Lane = Lane.BULK, worker: str, now: datetime, lease: timedelta
    ) -> list[Claim]:
        """Claims like `claim`, without a wake-up: whatever is due in lanes down to `lowest`, urgent lane first, longest
        due first. Of those whose deadline has passed it puts off many at a time, out of the way of the others."""

    def renew(self, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> None:
        """Extends the leases of these claims (email id -> token) that still hold."""

    def fence(self, tokens: Mapping[str, str], *, now: datetime, lease: timedelta) -> set[str]:
        """Durably notes that the final dot is about to be written. Returns the ids whose claims still hold; the caller
        must not write the dot for any other. From here on a lapse means doubt."""

    def settle(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        """Durably ends these claims with their new lives; returns the ids that were written. A claim whose token has
        lapsed (recovered, perhaps claimed anew) is refused: its email is untouched."""

    def settle_late(self, settlements: Sequence[Settlement], *, now: datetime) -> set[str]:
        """A worker thought dead got a 2xx after its fenced claim had lapsed. While nobody else has claimed the email
        since (queued, retrying or uncertain), its life goes on with that (`lifecycle.succeed_late`); returns the ids
        that were written."""

    def attachments(self, email_id: str) -> list[bytes]:
        """The contents of an email's attachments, in order. Raises `Unreadable` where they make no sense."""

    # -- upkeep -------------------------------------------------------------------------------------------------

    def due(
        self, limit: int, *, now: datetime, wake_up_again_at: datetime, published_until: datetime | None = None
    ) -> Mapping[Lane, list[str]]:
        """Ids to publish, by lane, oldest first: due, and with a wake-up time that has passed, or will by
        `published_until`. Moves each one's next wake-up to `wake_up_again_at`, so that two sweeps never publish the
        same. Scheduled ones become queued. Those whose deadline has passed are put off; a lane in which there was none
        but these is there, without ids."""

    def recover(self, limit: int, *, now: datetime, doubt_delay: timedelta, everything: bool = False) -> int:
        """Ends lapsed claims (or, at the start of an embedded process, all): before the fence back to the queue, after
        it flagged and queued in `doubt_delay`, or uncertain, as the email says. Returns how many; never drops one. One
        that cannot be read is tried again after about a minute."""

    def expire(self, limit: int, *, now: datetime) -> int:
        """Fails unheld emails whose deadline has passed. Returns how many."""

    def prune(self, limit: int, *, now: datetime, finished_before: datetime) -> int:
        """Deletes emails that ended before that time, and idempotency keys that have expired. Returns how many emails.
        An email may stay until its key has expired, and an expired key as long as its email. What need not be read for
        it is deleted though it cannot be read."""

    # -- reading and the moves by hand ----------------------------------------------------------------------------

    def get(self, account: str, email_id: str) -> Email | None:
        """The whole email but for attachment contents, or None when this account has none such."""

    def get_many(self, wanted: Collection[AccountAndId]) -> Mapping[AccountAndId, Email]:
        """As many `get`s in one look-up; what is not there is left out. Raises as a whole, also when one of the emails
        cannot be read."""

    def list(self, query: Query) -> Page:
        """One page; it may be short of emails that cannot be read, but is not empty for them. Raises `EmailNotFound`
        for a cursor that this account does not have."""

    def cancel(self, account: str, email_id: str, *, now: datetime) -> Email:
        """Excludes any later claim, or raises `WrongState` because a claim was first. `EmailNotFound` if unknown."""

    def reschedule(self, account: str, email_id: str, at: datetime, *, now: datetime) -> Email:
        """Moves a scheduled, unclaimed email; `WrongState` otherwise. `EmailNotFound` if unknown."""

    def retry(self, account: str, email_id: str, *, now: datetime, max_age: timedelta, wake_up_at: datetime) -> Email:
        """Queues a failed, uncertain or canceled email anew; `WrongState` otherwise. `EmailNotFound` if unknown."""

    def counts(self) -> Mapping[Status, int]:
        """How many emails stand in each status, over all accounts. The books: they add up to all emails kept."""

    def backlog(self) -> int:
        """How many emails are unfinished (scheduled, queued, sending, retrying). Cheap enough for each second."""

    def waiting_since(self, now: datetime) -> Mapping[Lane, datetime]:
        """By lane, since when the email that is due longest waits for a worker; without the lanes in which none is due.
        Cheap."""

    # -- keys ------------------------------------------------------------------------------------------------------

    def add_key(self, key: ApiKey) -> None:
        """Stores a new key, durably."""

    def find_key(self, key_id: str) -> ApiKey | None:
        """The key with this id, also when revoked or expired."""

    def list_keys(self, account: str | None = None, *, revoked_too: bool = False) -> Sequence[ApiKey]:
        """The keys of an account, or of all, oldest first. Of those that were revoked there may be very many."""

    def revoke_key(self, key_id: str, *, now: datetime) -> bool:
        """Revokes it for good; False when there is no such key. Revoking twice keeps the first time."""

    # -- housekeeping ------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Returns when the store answers and can be written to, else raises `StoreUnavailable`."""

    def close(self) -> None:
        """Finishes what is under way and lets go. May be called twice."""
