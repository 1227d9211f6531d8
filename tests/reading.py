"""What two parsers that share no code with us read from a message: the standard library's, and one written in Rust."""

from dataclasses import dataclass
from email import message_from_string, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses

import fast_mail_parser

Mailboxes = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An attachment as it was read."""

    filename: str | None
    content_type: str
    content_id: str | None
    disposition: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message as it was read: names and texts decoded, line ends as LF."""

    sender: Mailboxes
    to: Mailboxes
    cc: Mailboxes
    reply_to: Mailboxes
    subject: str
    headers: dict[str, list[str]]
    text: str | None
    html: str | None
    files: list[File]


def by_standard_library(message: bytes) -> Letter:
    """Reads a message with `email`, and asserts that it found no defects."""
    # Decoded first: message_from_bytes replaces the raw UTF-8 that RFC 6532 allows in headers.
    parsed = message_from_string(message.decode(), policy=policy.default)
    parts = [part for part in parsed.walk() if not part.is_multipart()]
    assert not [defect for part in parsed.walk() for defect in part.defects]
    bodies = {part.get_content_subtype(): _text(part) for part in reversed(parts) if _is_body(part)}
    return Letter(
        sender=_mailboxes(parsed, "From"),
        to=_mailboxes(parsed, "To"),
        cc=_mailboxes(parsed, "Cc"),
        reply_to=_mailboxes(parsed, "Reply-To"),
        subject=str(parsed["Subject"]),
        headers={name: [str(value) for value in parsed.get_all(name, [])] for name in parsed},
        text=bodies.get("plain"),
        html=bodies.get("html"),
        files=[_file(part) for part in parts if not _is_body(part)],
    )


def by_fast_mail_parser(message: bytes) -> Letter:
    """Reads a message with `fast_mail_parser`, and asserts that it had nothing to mend."""
    parsed = fast_mail_parser.parse_email(message)
    assert not parsed.warnings
    assert parsed.from_ is not None
    files = [
        File(
            filename=found.filename or None,
            content_type=found.mimetype,
            content_id=found.content_id,
            disposition=found.disposition or "",
            content=found.content,
        )
        for found in parsed.attachments
    ]
    return Letter(
        sender=_pairs([parsed.from_]),
        to=_pairs(parsed.to),
        cc=_pairs(parsed.cc),
        reply_to=_pairs(parsed.reply_to),
        subject=parsed.subject,
        headers=parsed.headers,
        text=parsed.text_plain[0].replace("\r\n", "\n") if parsed.text_plain else None,
        html=parsed.text_html[0].replace("\r\n", "\n") if parsed.text_html else None,
        files=files,
    )


def _mailboxes(parsed: EmailMessage, name: str) -> Mailboxes:
    # By way of the raw header: on Python 3.11 the parsed one keeps a space between two encoded words of one name.
    raw = [value.replace("\r\n", "") for key, value in parsed.raw_items() if key.lower() == name.lower()]
    return [(str(make_header(decode_header(shown))), addr) for shown, addr in getaddresses(raw)]


def _pairs(found: list[fast_mail_parser.PyAddress]) -> Mailboxes:
    return [(one.display_name or "", one.address) for one in found]


def _is_body(part: EmailMessage) -> bool:
    return part.get_content_maintype() == "text" and part.get_content_disposition() is None


def _text(part: EmailMessage) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode(part.get_content_charset("")).replace("\r\n", "\n")


def _file(part: EmailMessage) -> File:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    content_id = part["Content-ID"]
    return File(
        filename=part.get_filename(),
        content_type=part.get_content_type(),
        content_id=str(content_id).strip().strip("<>") if content_id else None,
        disposition=part.get_content_disposition() or "",
        content=payload,
    )
