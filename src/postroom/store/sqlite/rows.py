"""The columns of `emails`, and how structures are kept in them."""

from operator import itemgetter
from typing import NamedTuple, TypeAlias

import orjson
from msgspec.structs import asdict

from postroom.mail.email import Lane

Value: TypeAlias = str | int | bytes | None

LANES = tuple(Lane)  # a lane is kept as its place here

EMAIL_COLUMNS = (
    "id",
    "account",
    "lane",
    "max_attempts",
    "on_uncertain",
    "created_at",
    "key_id",
    "idempotency_key",
    "message_id",
    "subject",
    "subject_folded",
    "submitted",
)
LIFE_COLUMNS = (
    "status",
    "due_at",
    "wake_up_at",
    "finished_at",
    "expires_at",
    "attempts",
    "crash_count",
    "scheduled_at",
    "next_attempt_at",
    "last_attempt_at",
    "sent_at",
    "possible_duplicate",
    "recipients",
    "last_error",
    "timeline",
)


class Row(NamedTuple):
    """A row of `emails`, as `SELECTED` brings it."""

    n: int
    id: str
    account: str
    status: str
    lane: int
    due_at: int | None
    lease_token: str | None
    lease_worker: str
    fenced: int
    expires_at: int
    attempts: int
    crash_count: int
    scheduled_at: int | None
    next_attempt_at: int | None
    last_attempt_at: int | None
    sent_at: int | None
    possible_duplicate: int
    max_attempts: int
    on_uncertain: str
    created_at: int
    key_id: str | None
    idempotency_key: str | None
    message_id: str
    subject: str
    submitted: str
    recipients: str
    last_error: str | None
    timeline: str


id_of = itemgetter(Row._fields.index("id"))  # of a row, also where other columns follow it
SELECTED = ", ".join(f"emails.{column}" for column in Row._fields)


def to_json(value: object) -> str:
    """Structs become objects, times RFC 3339 strings."""
    return orjson.dumps(value, default=asdict).decode()
