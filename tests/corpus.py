"""Emails that are hard to carry, built through the product's own functions, and a judge of what arrived.

Every tier sends them: unit tests parse what `mime` composed, others what came out of a real SMTP server.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from postroom.mail import address, attachments, draft, headers, plain_text
from postroom.mail.email import Address, Attachment, Email
from tests import reading

NOW = datetime(2026, 3, 29, 12, 34, 56, 789_000, tzinfo=UTC)
PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d49484452")
BINARY = bytes(range(256)) * 800  # 200 kB of every octet there is

File = tuple[str | None, str | None, str | None, bytes]
"""File name, content type, content id, content."""


def letter(
    *,
    sender: str = "Acme Shop <shop@example.org>",
    to: Iterable[str] = ("bob@example.com",),
    cc: Iterable[str] = (),
    bcc: Iterable[str] = (),
    reply_to: Iterable[str] = (),
    subject: str = "Your order",
    html: str | None = None,
    text: str | None = None,
    custom: Iterable[tuple[str, str]] = (),
    files: Iterable[File] = (),
) -> Email:
    """An email accepted at `NOW`, each member checked as a submission's would be."""
    checked = draft.Draft(
        sender=address.parse(sender, member="from"),
        to=_addresses(to),
        cc=_addresses(cc),
        bcc=_addresses(bcc),
        reply_to=_addresses(reply_to),
        subject=headers.check_text(subject, member="subject", limit=998),
        html=headers.check_body(html, member="html", limit=2**20) if html is not None else None,
        text=headers.check_body(text, member="text", limit=2**20) if text is not None else None,
        headers=headers.clean(custom, member="headers"),
        attachments=tuple(_attachment(*file) for file in files),
    )
    max_age = timedelta(hours=72)
    return draft.accept(
        checked, account="default", key_id=None, idempotency_key=None, max_attempts=25, max_age=max_age, now=NOW
    )


def contents(email: Email) -> list[bytes]:
    """The contents of an email's attachments, as a store would bring them."""
    return [attachment.content or b"" for attachment in email.attachments]


def emails() -> dict[str, Email]:
    """The hard emails by name; any SMTP server can carry them."""
    return {**_bodies(), **_names_and_headers(), **_with_files()}


def emails_needing_smtputf8() -> dict[str, Email]:
    """Emails that only a server with RFC 6531 can carry."""
    return {
        "smtputf8 recipient": letter(to=["Jürgen <jürgen@exämple.com>", "bob@example.com"], text="Hallo Jürgen"),
        "smtputf8 sender": letter(sender="用户 <用户@例子.广告>", to=["संपर्क@डाटामेल.भारत"], text="नमस्ते"),
    }


def _bodies() -> dict[str, Email]:
    return {
        "plain": letter(text="Hello Bob,\n\nyour order is on its way.\n"),
        "html alone": letter(
            html="<h1>Hello</h1><p>See <a href='https://example.org/a?b=1&amp;c=2'>your order</a>.</p>"
        ),
        "html and text": letter(html="<p>Hello</p>", text="Hello"),
        "html and empty text": letter(html="<p>Hello</p>", text=""),
        "empty text": letter(text=""),
        "no line end at the end": letter(text="one\r\ntwo"),
        "mostly ASCII": letter(text="Grüße aus Köln\n" + "plain line\n" * 20, html="<p>Grüße</p>" + "<br>\n" * 50),
        "hardly ASCII": letter(text="日本語のメール本文です。\n" * 60, html="<p>" + "Привет, мир! " * 200 + "</p>"),
        "right to left": letter(
            subject="הזמנה מספר 4711 נשלחה",
            text="\u200fשלום (a) עולם, 123!\n",  # noqa: RUF001
            html="<p dir=rtl>שלום</p>",
        ),
        "lines of 5,000": letter(text="x" * 5_000 + "\n" + "word " * 1_000 + "\n", html=f"<p>{'y' * 5_000}</p>"),
        "lines of 998 and 999": letter(text="a" * 998 + "\n" + "b" * 999 + "\n", html="c" * 998),
        "dots at line starts": letter(text=".\n..\n...\n.a\n\n.\n", html=".\n<p>.</p>\n.\n"),
        "end of data inside": letter(text="before\r\n.\r\nMAIL FROM:<evil@example.net>\r\n.\r\nafter\r\n"),
        "smuggling": letter(text="a\n.\nb\r.\rc\r\n.\rd\r.\ne\n.\r\nf\r\n.\nQUIT\n"),
        "line ends mixed": letter(text="cr\rlf\ncrlf\r\ncrcr\r\rlflf\n\ncrcrlf\r\r\nlfcr\n\rend", html="<p>\r</p>\n\r"),
        "tabs and trailing spaces": letter(
            text="\tone\t\n  two  \n\x20\n\t\nthree \t ", html="<pre>\ta \n b\t\n</pre> "
        ),
        "control characters": letter(
            text="bell \x07 form \x0c feed \x0b esc \x1b[0m del \x7f nel \x85 ls \u2028 end\n"
        ),
        "headers in the body": letter(text="Subject: not this one\nBcc: nobody@example.net\n\nFrom here\nFrom there\n"),
    }


def _names_and_headers() -> dict[str, Email]:
    ten = [f"Recipient Number {n} <number.{n}@subdomain.example.com>" for n in range(10)]
    custom = [
        ("X-Entity-Ref-ID", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("X-Greeting", "Grüße, Welt"),
        (
            "List-Unsubscribe",
            "<mailto:off@example.org?subject=off>, <https://example.org/unsubscribe?token=" + "t" * 90 + ">",
        ),
        ("X-Metadata", '{"order": 4711, "items": [' + ", ".join(f'"item {n}"' for n in range(60)) + "]}"),
        ("X-Unfoldable", "z" * 3_000),
        ("X-Spaces", "two  spaces\tand a tab"),
        ("X-Many-Spaces", "word  word \t word   " * 20 + "end"),
        ("X-Empty", ""),
        ("X-" + "Long-" * 14 + "Name", "short"),
        ("To", "ignored@example.net"),
    ]
    return {
        "subject of 900 characters": letter(subject="Überraschung 🎉 für Zoë — " * 34 + "0123456789abcdef", text="."),
        "subject of 990 ASCII letters": letter(subject="s" * 990, text="."),
        "subject like an encoded word": letter(subject="=?utf-8?q?not=20really?= a word", text="."),
        "subject with outer spaces": letter(subject="  spaced  out  ", text="."),
        "empty subject": letter(subject="", text="."),
        "emoji names": letter(
            sender="🚀 Post 👩‍👩‍👧‍👦 Room 🏳️‍🌈 <post@example.org>", to=["🎅 <santa@example.com>"], text="."
        ),
        "names with specials": letter(
            sender='"Doe, Jane \\"JD\\" (Sales); \\\\ <x>" <jane@example.org>',
            to=['"O\'Neil @ Work: <b>" <bob@example.com>', "Dr. Käthe Müller-Lüdenscheidt, Esq. <k@example.com>"],
            reply_to=['"=?x?q?y" <help@example.org>', "no-reply@example.org"],
            text=".",
        ),
        "long names": letter(
            sender="Ä" * 320 + " <a@example.org>", to=["B" * 320 + f" <{'b' * 60}@example.com>"], text="."
        ),
        "ten recipients": letter(to=ten[:5], cc=ten[5:], text="."),
        "blind copies": letter(bcc=["Secret One <secret.one@example.net>", "secret.two@example.net"], text="."),
        "custom headers": letter(custom=custom, text="."),
    }


def _with_files() -> dict[str, Email]:
    inline: File = ("logo.png", None, "logo@example.org", PIXEL)
    report: File = ("report.pdf", None, None, b"%PDF-1.7\n" + BINARY[:999])
    return {
        "attachments of many types": letter(
            text="See attached.",
            html="<p>See attached.</p>",
            files=[
                report,
                (
                    "notes.txt",
                    'text/plain; charset="iso-8859-1"; format=flowed',
                    None,
                    "Grüße\r\n.\r\n".encode("latin-1"),
                ),
                ("meeting.ics", "text/calendar; method=REQUEST", None, b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"),
                ("data.json", None, None, b"{}"),
                (None, None, None, b"\0"),
                ("page.html", None, None, b"<p>attached</p>"),
                ("mail.eml", None, None, b"Subject: inner\r\n\r\ninner"),
            ],
        ),
        "attachment alone": letter(text="", files=[report]),
        "inline image": letter(html='<img src="cid:logo@example.org">Hi', text="Hi", files=[inline]),
        "inline image and attachment": letter(html='<p>Hi<img src="cid:logo@example.org">', files=[report, inline]),
        "inline image without html": letter(text="Hi", files=[inline]),
        "file names": letter(
            text=".",
            files=[
                ("Übersicht 2026 für Zoë.pdf", None, None, b"1"),
                ("quote \" semi ; back % star * apostrophe '.txt", None, None, b"2"),
                ("=?utf-8?q?name?=.txt", None, None, b"3"),
                ("名" * 250 + ".docx", None, None, b"4"),
                ("a" * 251 + ".png", None, None, b"5"),
                ("../../etc/passwd", None, None, b"6"),
                ("C:\\Users\\me\\photo one.jpg", "image/jpeg; name=other.jpg", None, b"7"),
            ],
        ),
        "200 kB of binary": letter(text="big", files=[("big.bin", None, None, BINARY)]),
    }


def same(sent: Email, attachments: Sequence[bytes], received: bytes) -> None:
    """Asserts that both parsers read from a received message what was sent. Header fields that servers add are fine."""
    for read in (reading.by_standard_library, reading.by_fast_mail_parser):
        letter_read = read(received)
        _same_header(sent, letter_read)
        _same_bodies(sent, letter_read)
        assert letter_read.files == _expected_files(sent, attachments)


def _same_header(sent: Email, read: reading.Letter) -> None:
    assert read.sender == _pairs([sent.sender])
    assert read.to == _pairs(sent.to)
    assert read.cc == _pairs(sent.cc)
    assert read.reply_to == _pairs(sent.reply_to)
    assert read.subject == sent.subject
    assert read.headers["Message-ID"] == [sent.message_id]
    assert len(read.headers["Date"]) == 1
    assert "bcc" not in {name.lower() for name in read.headers}
    for name, _ in sent.headers:
        assert read.headers[name] == [value for other, value in sent.headers if other == name]


def _same_bodies(sent: Email, read: reading.Letter) -> None:
    text = (sent.text or "") if sent.html is None else _plain_side(sent.html, sent.text)
    assert _without_last_line_end(read.text) == _without_last_line_end(text)
    assert _without_last_line_end(read.html) == _without_last_line_end(sent.html)


def _plain_side(html: str, text: str | None) -> str | None:
    return (plain_text.from_html(html) if text is None else text) or None


def _without_last_line_end(body: str | None) -> str | None:
    """LF throughout, and one less at the end: SMTP ends the last line if nobody else does (RFC 5321 §4.1.1.4)."""
    return None if body is None else body.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


def _expected_files(sent: Email, attachments: Sequence[bytes]) -> list[reading.File]:
    expected = [_expected_file(*pair) for pair in zip(sent.attachments, attachments, strict=True)]
    return sorted(expected, key=lambda file: file.content_id is None)  # inline ones stand with the body


def _expected_file(attachment: Attachment, content: bytes) -> reading.File:
    return reading.File(
        filename=attachment.filename,
        content_type=attachment.content_type.partition(";")[0].strip(),
        content_id=attachment.content_id,
        disposition="inline" if attachment.content_id else "attachment",
        content=content,
    )


def _pairs(addresses: Sequence[Address]) -> reading.Mailboxes:
    return [(mailbox.name, mailbox.addr) for mailbox in addresses]


def _addresses(texts: Iterable[str]) -> tuple[Address, ...]:
    return tuple(address.parse(text, member="to") for text in texts)


def _attachment(filename: str | None, content_type: str | None, content_id: str | None, content: bytes) -> Attachment:
    return attachments.describe(
        filename=filename, content_type=content_type, content_id=content_id, content=content, member="attachments[0]"
    )
