"""What clients get back, as schemas. `render` makes values of these types; the OpenAPI document shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the standard one only from Python 3.12 on

from postroom.api.errors import Name
from postroom.mail.email import RecipientStatus, Status

Events = Annotated[
    str,
    Field(
        description="A state that was reached, or `attempt`, `relay_unavailable`, `handed_back`, `claim_lapsed`,"
        " `outcome_unknown`, `retried_by_hand`."
    ),
]
Kinds = Annotated[
    str,
    Field(
        description="Of an attempt: `transient`, `permanent`, `rejected`, `uncertain`, `route`. When Postroom stopped"
        " trying: `exhausted`, `expired`, `poison`."
    ),
]

LastEvent = Literal[
    "queued",
    "scheduled",
    "sent",
    "delivered",
    "delivery_delayed",
    "bounced",
    "complained",
    "canceled",
    "failed",
    "opened",
    "clicked",
    "suppressed",
]


class Pair(TypedDict):
    """One tag, or one header."""

    name: str
    value: str


class AttachmentOut(TypedDict):
    """What is known of an attachment; `size` is in bytes."""

    filename: str | None
    content_type: str
    content_disposition: Literal["inline", "attachment"]
    content_id: str | None
    size: int


class RecipientOut(TypedDict):
    """One recipient and where it stands; code and message are from its last attempt."""

    address: str
    kind: Literal["to", "cc", "bcc"]
    status: RecipientStatus
    smtp_code: int | None
    enhanced_code: str | None
    message: str | None
    at: datetime | None


class EventOut(TypedDict):
    """One line of the timeline."""

    event: Events
    at: datetime
    attempt: int
    detail: dict[str, Any]


class LastErrorOut(TypedDict):
    """Why the email was not sent, or not yet."""

    kind: Kinds
    message: str
    smtp_code: int | None
    enhanced_code: str | None
    permanent: bool
    at: datetime


class AcceptedEmail(TypedDict):
    """An email that is durably stored and will be sent."""

    object: Literal["email"]
    id: str
    status: Status
    created_at: datetime
    scheduled_at: datetime | None


class RefusedEmail(TypedDict):
    """One email of a permissive batch that was not accepted; `index` counts from 0 in the request."""

    index: int
    message: str


class AcceptedBatch(TypedDict):
    """The accepted emails in the order of the request."""

    data: list[AcceptedEmail]


class PermissiveBatch(AcceptedBatch):
    """The accepted emails of a permissive batch, and those that were refused."""

    errors: list[RefusedEmail]


class ChangedEmail(TypedDict):
    """The email that was changed."""

    object: Literal["email"]
    id: str


EmailHead = TypedDict(
    "EmailHead",
    {
        "id": str,
        "message_id": str,
        "from": str,
        "to": list[str],
        "cc": list[str],
        "bcc": list[str],
        "reply_to": list[str],
        "subject": str,
        "created_at": datetime,
        "scheduled_at": datetime | None,
        "last_event": LastEvent,
        "status": Status,
        "attempts": int,
        "max_attempts": int,
        "sent_at": datetime | None,
        "next_attempt_at": datetime | None,
        "possible_duplicate": bool,
    },
)


class EmailInList(EmailHead):
    """An email in a listing."""


class EmailOut(EmailHead):
    """An email and its life."""

    object: Literal["email"]
    html: str | None
    text: str | None
    tags: list[Pair]
    headers: list[Pair]
    attachments: list[AttachmentOut]
    metadata: dict[str, Any]
    priority: Literal["urgent", "normal", "bulk"]
    idempotency_key: str | None
    on_uncertain: Literal["resend", "hold"]
    expires_at: datetime
    last_attempt_at: datetime | None
    last_error: LastErrorOut | None
    recipients: list[RecipientOut]
    timeline: list[EventOut]


class EmailList(TypedDict):
    """A page of emails, newest first; `has_more` in the direction that was asked."""

    object: Literal["list"]
    has_more: bool
    data: list[EmailInList]


class EventList(TypedDict):
    """A timeline, oldest first."""

    object: Literal["list"]
    has_more: bool
    data: list[EventOut]


class ApiKeyOut(TypedDict):
    """A key, without its secret."""

    id: str
    name: str
    permission: Literal["full_access", "sending_access"]
    domains: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewApiKey(ApiKeyOut):
    """A new key; `token` is shown this once."""

    token: str


class ApiKeyList(TypedDict):
    """All keys, oldest first."""

    object: Literal["list"]
    has_more: bool
    data: list[ApiKeyOut]


class RevokedApiKey(TypedDict):
    """A key that no longer works."""

    object: Literal["api_key"]
    id: str
    deleted: bool


class Liveness(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class Readiness(TypedDict):
    """Whether it can accept emails, part by part: `ok`, or one sentence. `degraded`: it can, and delivery is slower."""

    status: Literal["ok", "degraded", "unavailable"]
    parts: dict[str, str]


class Health(Readiness):
    """Readiness, and the version, uptime and load."""

    version: str
    uptime_seconds: int
    requests_under_way: int
    backlog: int


class Detail(TypedDict):
    """One problem of several."""

    member: str
    message: str


class _Error(TypedDict):
    statusCode: int
    name: Name
    message: str
    request_id: str


class Error(_Error, total=False):
    """Every answer that is not a success."""

    details: list[Detail]


class Problem(Error):
    """The same as problem details (RFC 9457), for those who name `application/problem+json` in `Accept`."""

    type: Literal["about:blank"]
    title: Name
    status: int
    detail: str
