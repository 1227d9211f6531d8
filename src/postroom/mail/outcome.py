"""What one attempt did to one recipient, as the transport saw it. What follows from it is decided in `settling`."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct


class Verdict(StrEnum):
    """What became of one recipient in one attempt."""

    ACCEPTED = "accepted"  # the relay answered 2xx to the final dot: it owns the email now (RFC 5321 §6.1)
    TRANSIENT = "transient"  # 4xx, time-out or lost link before the final dot: surely not delivered, try later
    PERMANENT = "permanent"  # 5xx to RCPT: this recipient is refused for good
    REJECTED = "rejected"  # 5xx to MAIL, DATA, the body or the final dot: the email itself is refused for good
    UNCERTAIN = "uncertain"  # the final dot was written, no certain reply came: it may have been delivered (RFC 1047)
    ROUTE = "route"  # the relay is down, or refuses us: says nothing about the email, costs no attempt
    RELEASED = "released"  # handed back untried, as at a stop, or where the fence refused; costs no attempt


NO_ATTEMPT = frozenset({Verdict.ROUTE, Verdict.RELEASED})  # they say nothing about the email


class Phase(StrEnum):
    """How far the SMTP dialogue had come."""

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"


class Reply(Struct, frozen=True, kw_only=True):
    """The relay's words: three-digit code, enhanced code (RFC 3463, such as `5.1.1`, or None), text (at most 500
    characters, control characters removed)."""

    code: int
    enhanced: str | None
    text: str


class Outcome(Struct, frozen=True, kw_only=True):
    """One recipient's result in one attempt. `message` is for people; it never holds addresses of others."""

    recipient: str
    verdict: Verdict
    phase: Phase
    message: str
    reply: Reply | None = None


class HandOff(Struct, frozen=True, kw_only=True):
    """One email's results in one attempt: an outcome per envelope recipient."""

    email_id: str
    relay: str
    seconds: float
    outcomes: Sequence[Outcome]


class Envelope(Struct, frozen=True, kw_only=True):
    """What a transport is handed: the sender and recipients that SMTP is told, and the message as bytes.

    `data` has CRLF line ends, lines of at most 998 octets, no bare CR, LF or NUL, and is not dot-stuffed. `smtputf8`
    says that an address or header needs RFC 6531. `attempt` counts from 1, and anew after a retry by hand;
    `possible_duplicate` says that an earlier attempt may have succeeded.
    """

    email_id: str
    mail_from: str
    rcpt_to: tuple[str, ...]
    data: bytes
    attempt: int
    smtputf8: bool = False
    possible_duplicate: bool = False
