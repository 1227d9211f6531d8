"""The message: an email as the octets that SMTP carries (RFC 5322, 2045), and its envelope. Same email, same octets.

Fields are written by `mime_headers`, parts by `mime_body`, the plain part of an HTML email by `plain_text`.
"""

import re
from collections.abc import Sequence

from postroom.mail import address, headers, lines, mime_body, mime_headers, plain_text
from postroom.mail.email import Email
from postroom.mail.outcome import Envelope

_FIELD_END = re.compile(r"\r\n(?![ \t])")


def envelope(email: Email, attachments: Sequence[bytes], *, return_path: str | None) -> Envelope:
    """What a transport is handed for this attempt: the message, for the recipients that are still pending.

    `attachments` are the contents in the order of `email.attachments`; bounces go to `return_path`, or the sender.
    """
    mail_from = return_path or email.sender.addr
    rcpt_to = tuple([recipient.address for recipient in email.life.pending])
    named = (email.sender, *email.to, *email.cc, *email.reply_to)
    addrs = "".join((mail_from, *rcpt_to, *[mailbox.addr for mailbox in named]))
    return Envelope(
        email_id=email.id,
        mail_from=mail_from,
        rcpt_to=rcpt_to,
        data=compose(email, attachments),
        attempt=email.life.attempts,
        smtputf8=address.needs_smtputf8(addrs),
        possible_duplicate=email.life.possible_duplicate,
    )


def compose(email: Email, attachments: Sequence[bytes]) -> bytes:
    """The message, with CRLF line ends, not dot-stuffed; `attachments` as for `envelope`. Bcc is never written.

    Raises `ValueError` when the email could not be written safely: a value got past validation.
    """
    fields = _fields(email)
    head = "".join(fields)
    if head.count("\r\n") != len(fields):
        _check_folding(head, len(fields))
    content = _content(email, attachments)
    message = b"".join((head.encode(), content, b"" if content.endswith(b"\r\n") else b"\r\n"))
    _check(message)
    return message


def _fields(email: Email) -> list[str]:
    fields = [mime_headers.sender(email.sender.name, email.sender.addr)]
    for name, addresses in (("To", email.to), ("Cc", email.cc), ("Reply-To", email.reply_to)):
        if addresses:
            fields.append(mime_headers.mailboxes(name, addresses))
    fields.append(mime_headers.text("Subject", email.subject))
    fields.append(mime_headers.date(email.life.scheduled_at or email.created_at))
    fields.append(mime_headers.message_id("Message-ID", email.message_id))
    for name, value in email.headers:
        fields.append(_custom_field(name, value))
    fields.append("MIME-Version: 1.0\r\n")
    return fields


def _custom_field(name: str, value: str) -> str:
    if not headers.may_be_custom(name):
        raise ValueError("a custom header has a name that only Postroom may write")
    return mime_headers.text(name, value)


def _content(email: Email, attachments: Sequence[bytes]) -> bytes:
    """The body part, and around it, as needed, the attachments."""
    if email.html is None and not email.attachments and not attachments:
        return mime_body.text("plain", email.text or "")
    stem = f"=_{email.id}"
    described = list(zip(email.attachments, attachments, strict=True))
    inline = tuple(mime_body.attachment(*pair) for pair in described if pair[0].content_id is not None)
    attached = tuple(mime_body.attachment(*pair) for pair in described if pair[0].content_id is None)
    if email.html is None:
        attached, inline = inline + attached, ()
    body = _body(email, inline, stem)
    return mime_body.multipart("mixed", (body, *attached), boundary=f"{stem}_m") if attached else body


def _body(email: Email, inline: Sequence[bytes], stem: str) -> bytes:
    """Plain text, HTML with what it shows inline, or both as alternatives, the richer one last (RFC 2046 §5.1.4)."""
    if email.html is None:
        return mime_body.text("plain", email.text or "", boundary_stem=stem)
    html = mime_body.text("html", email.html, boundary_stem=stem)
    if inline:
        html = mime_body.multipart('related; type="text/html"', (html, *inline), boundary=f"{stem}_r")
    plain = plain_text.from_html(email.html) if email.text is None else email.text
    if not plain:
        return html
    return mime_body.multipart(
        "alternative", (mime_body.text("plain", plain, boundary_stem=stem), html), boundary=f"{stem}_a"
    )


def _check_folding(head: str, fields: int) -> None:
    if len(_FIELD_END.findall(head)) != fields:
        raise ValueError("a header field runs into another")


def _check(message: bytes) -> None:
    """The last look, whatever happened before: nothing here may mean something else to the next server."""
    if lines.are_unsafe(message):
        raise ValueError("the message holds NUL, or CR or LF alone")
    if lines.are_too_long(message, b"\r\n"):
        raise ValueError("the message has a line of more than 998 octets")
