"""From what a client sent to a draft: every rule applied, every problem collected, no value repeated."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

import orjson

from postroom.api.problems import Problems, shaped
from postroom.api.schemas import AttachmentIn, EmailIn
from postroom.errors import InvalidAttachment, InvalidInput, MissingMember, NotOffered
from postroom.mail import address, attachments, headers, when
from postroom.mail.draft import METADATA_NAME, MOST_METADATA, TAG_TEXT, Draft
from postroom.mail.email import Address, Attachment, Json, Lane, OnUncertain
from postroom.settings import Settings

LONGEST_EMAIL_LIFE = timedelta(days=366)

_TAG = re.compile(TAG_TEXT)
_METADATA_NAME = re.compile(METADATA_NAME)
_NOBODY = Address("")


def draft(value: Json, *, settings: Settings, now: datetime, lane: Lane = Lane.NORMAL) -> Draft:
    """A draft of one email; `lane` is what it gets when it names no priority. Raises `InvalidBody`."""
    asked = _not_offered(value)
    sent = shaped(EmailIn, value, asked)
    problems = Problems(asked)
    sender = problems.guard(_sender, sent.sender) or _NOBODY
    to, cc, bcc, reply_to = _all_addresses(sent, settings, problems)
    html, text = _bodies(sent, settings, problems)
    made = Draft(
        sender=sender,
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=reply_to,
        subject=problems.guard(_subject, sent.subject, settings.max_subject_chars) or "",
        html=html,
        text=text,
        headers=(problems.guard(headers.clean, sent.headers, member="headers") or ()) if sent.headers else (),
        attachments=_attachments(sent.attachments, settings, problems) if sent.attachments else (),
        tags=_tags(sent.tags, problems) if sent.tags else (),
        metadata=(problems.guard(_metadata, sent.metadata, settings) or {}) if sent.metadata else {},
        lane=Lane(sent.priority) if sent.priority else lane,
        scheduled_at=problems.guard(scheduled_at, sent.scheduled_at, settings, now)
        if sent.scheduled_at is not None
        else None,
        expires_at=problems.guard(_expires_at, sent, settings, now) if sent.expires_at is not None else None,
        max_attempts=sent.max_attempts,
        on_uncertain=OnUncertain(sent.on_uncertain) if sent.on_uncertain else OnUncertain.RESEND,
    )
    problems.raise_any()
    return made


@lru_cache(maxsize=1000)  # an application sends from few addresses, and each takes up to 5,000 characters
def _sender(text: str) -> Address:
    return address.parse(text, member="from")


def scheduled_at(text: str, settings: Settings, now: datetime) -> datetime:
    """When to send; a time that has passed means now. Raises `InvalidInput`."""
    return when.parse(text, member="scheduled_at", now=now, furthest=timedelta(days=settings.max_schedule_days))


def _not_offered(value: Json) -> list[InvalidInput]:
    """What this service does not do. It is told first: an email by template has no subject either, but
    that is not why it is refused."""
    if not isinstance(value, dict):
        return []
    return [NotOffered(member) for member in ("template", "topic_id") if value.get(member) is not None]


def _all_addresses(sent: EmailIn, settings: Settings, problems: Problems) -> Sequence[tuple[Address, ...]]:
    to, cc, bcc, reply_to = sent.to or (), sent.cc or (), sent.bcc or (), sent.reply_to or ()
    if not to:
        problems.note(MissingMember("to", "at least one address is needed"))
    if len(to) + len(cc) + len(bcc) > settings.max_recipients:
        problems.note(InvalidInput("to", f"more than {settings.max_recipients} recipients (to, cc and bcc together)"))
        return ((), (), (), ())
    if len(reply_to) > settings.max_recipients:
        problems.note(InvalidInput("reply_to", f"more than {settings.max_recipients} addresses"))
        return ((), (), (), ())
    return (
        _addresses(to, "to", problems) if to else (),
        _addresses(cc, "cc", problems) if cc else (),
        _addresses(bcc, "bcc", problems) if bcc else (),
        _addresses(reply_to, "reply_to", problems) if reply_to else (),
    )


def _addresses(texts: Sequence[str], member: str, problems: Problems) -> tuple[Address, ...]:
    parsed = [problems.guard(address.parse, text, member=f"{member}[{i}]") for i, text in enumerate(texts)]
    return tuple([one for one in parsed if one])


def _bodies(sent: EmailIn, settings: Settings, problems: Problems) -> tuple[str | None, str | None]:
    if sent.text is None and not sent.html:
        problems.note(MissingMember("html", "`html` or `text` is needed"))
    for member, body in (("html", sent.html), ("text", sent.text)):
        if body:
            problems.guard(headers.check_body, body, member=member, limit=settings.max_text_bytes)
    return sent.html or None, sent.text  # an empty HTML part would hide the plain one


def _subject(subject: str, limit: int) -> str:
    if not subject:
        raise MissingMember("subject", "it is empty")
    if subject.isspace():
        raise InvalidInput("subject", "has nothing that can be seen")
    if "\t" in subject:  # a header may be folded there, and come back as a blank
        raise InvalidInput("subject", "holds a tab")
    return headers.check_text(subject, member="subject", limit=limit)


def _tags(pairs: Iterable[tuple[str, str]], problems: Problems) -> tuple[tuple[str, str], ...]:
    kept = []
    for i, (name, value) in enumerate(pairs):
        for member, text in (("name", name), ("value", value)):
            if not _TAG.fullmatch(text):
                problem = "must be 1 to 256 ASCII letters, digits, underscores and hyphens"
                problems.note(InvalidInput(f"tags[{i}].{member}", problem))
        kept.append((name, value))
    return tuple(kept)


def _metadata(metadata: dict[str, Json], settings: Settings) -> dict[str, Json]:
    if len(metadata) > MOST_METADATA:
        raise InvalidInput("metadata", f"has more than {MOST_METADATA} members")
    if not all(map(_METADATA_NAME.fullmatch, _names_in(metadata))):
        problem = "has a name that is not 1 to 64 ASCII letters, digits, underscores and hyphens"
        raise InvalidInput("metadata", problem)
    packed = orjson.dumps(metadata, default=float)
    if len(packed) > settings.max_metadata_bytes:
        raise InvalidInput("metadata", f"is larger than {settings.max_metadata_bytes} bytes as JSON")
    plain: dict[str, Json] = orjson.loads(packed)
    return plain


def _names_in(value: Json) -> Iterator[str]:
    """The names of all members, at every depth (the reading of JSON has bounded it)."""
    if isinstance(value, dict):
        yield from value
        for member in value.values():
            yield from _names_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from _names_in(member)


def _expires_at(sent: EmailIn, settings: Settings, now: datetime) -> datetime:
    expires = when.parse(sent.expires_at or "", member="expires_at", now=now, furthest=LONGEST_EMAIL_LIFE)
    if expires <= now:
        raise InvalidInput("expires_at", "must be in the future")
    if sent.scheduled_at is not None:
        try:
            starts = scheduled_at(sent.scheduled_at, settings, now)
        except InvalidInput:
            return expires  # noted already
        if expires <= starts:
            raise InvalidInput("expires_at", "must be after scheduled_at")
    return expires


def _attachments(sent: Sequence[AttachmentIn], settings: Settings, problems: Problems) -> tuple[Attachment, ...]:
    if len(sent) > settings.max_attachments:
        problems.note(InvalidAttachment("attachments", f"more than {settings.max_attachments} attachments"))
        return ()
    room = settings.max_attachment_bytes
    kept = []
    for i, one in enumerate(sent):
        described = problems.guard(_attachment, one, f"attachments[{i}]", room)
        if described:
            kept.append(described)
            room -= described.size
    return tuple(kept)


def _attachment(sent: AttachmentIn, member: str, room: int) -> Attachment:
    if sent.path is not None:
        raise InvalidAttachment(f"{member}.path", "is not offered: no file is fetched; send its content")
    if sent.content is None:
        raise InvalidAttachment(member, "has no content")
    if not isinstance(sent.content, str | list):
        raise InvalidAttachment(f"{member}.content", "must be base64 text or a list of octets")
    content, is_utf8 = attachments.decode(
        sent.content, content_type=sent.content_type, member=f"{member}.content", limit=max(room, 0)
    )
    return attachments.describe(
        filename=sent.filename,
        content_type=sent.content_type,
        content_id=sent.content_id,
        content=content,
        is_utf8=is_utf8,
        member=member,
    )
