"""Any email that passes validation is read back as it was sent, by two parsers that share no code with the composer.

The strategies leave out what validation refuses, and where a comment says so, what a parser gets wrong.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email import utils
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from postroom.mail import address, encoded_word, mime
from postroom.mail.email import Address, Attachment, Email
from tests import corpus

ANY = st.characters(exclude_categories=["Cs"])
IN_LINE = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
IN_NAME = st.characters(
    exclude_categories=["Cs", "Cc", "Zl", "Zp"],
    exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
)
TRICKY = st.sampled_from(
    [
        "=?utf-8?q?a?=",
        "=?",
        "?=",
        "=_",
        '"',
        "\\",
        "<x@y.z>",
        ", ",
        ";",
        ":",
        "  ",
        "\t",
        "é",
        "🎉",
        "\u200f",
        "%41",
        "''",
    ]
)


def lines_of(characters: st.SearchStrategy[str], max_size: int) -> st.SearchStrategy[str]:
    """One-line texts: ordinary, long, and made of what parsers stumble over."""
    plain = st.text(characters, max_size=max_size)
    long = st.builds(
        lambda text, times: (text * times)[:max_size], st.text(characters, min_size=1, max_size=9), st.integers(1, 200)
    )
    tricky = st.lists(TRICKY | st.text(characters, max_size=3), max_size=12).map("".join)
    return plain | long | tricky.map(lambda text: text[:max_size])


SUBJECTS = lines_of(IN_LINE, 998)
NAMES = lines_of(IN_NAME, 320).map(
    lambda name: name.replace("\t", "").strip()
)  # fast_mail_parser strips no-break spaces
ATOMS = st.text("azAZ09!#$%&'*+/^_`{|}~-", min_size=1, max_size=20)
LABELS = st.text("az09", min_size=1, max_size=20)
ADDRS = st.builds("{}.{}@{}.{}.example".format, ATOMS, ATOMS, LABELS, LABELS)
ADDRESSES = st.builds(Address, ADDRS, NAMES)
LISTS = st.lists(ADDRESSES, max_size=3).map(tuple)

LINE_ENDS = st.sampled_from(["\r", "\n", "\r\n", "\n\n", "\r\r\n", "\n\r"])
TEXT_LINES = st.text(ANY, max_size=40) | st.sampled_from(
    [".", "..", "From x", "--", " ", "\t", "=", "a=\t", "Bcc: x", "x" * 998, "y " * 600]
)
TEXTS = st.lists(TEXT_LINES | LINE_ENDS, max_size=12).map("".join).map(lambda text: text.replace("\0", ""))

VISIBLE = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":")
HEADER_NAMES = st.text(VISIBLE, max_size=74).map("X-{}".format)
VALUES = lines_of(IN_LINE, 998).map(lambda value: value.strip(" \t"))
HEADERS = st.lists(st.tuples(HEADER_NAMES, VALUES), max_size=3).map(tuple)

NO_PATH = dict.fromkeys(map(ord, "/\\\t"))
FILENAMES = (
    lines_of(IN_NAME, 255)
    .map(lambda name: name.translate(NO_PATH).strip(" "))
    .filter(lambda name: utils.unquote(name).strip() == name)  # get_filename() takes "a", <a> and a\xa0 for a
)
TYPES = st.sampled_from(["application/pdf", "image/png", "text/plain; charset=utf-8", 'text/csv; header="a; b"', "a/b"])
IDS = st.none() | st.text("azAZ09.@_-", min_size=1, max_size=127)


@st.composite
def attachments(draw: st.DrawFn) -> Attachment:
    content = draw(st.binary(max_size=200))
    filename, content_type = draw(st.none() | FILENAMES.filter(bool)), draw(TYPES)
    return Attachment(
        filename=filename,
        content_type=content_type,
        # fast_mail_parser counts every inline text among the bodies
        content_id=None if content_type.startswith("text/") else draw(IDS),
        size=len(content),
        content=content,
    )


BODIES = st.fixed_dictionaries({"text": st.none() | TEXTS, "html": st.none() | TEXTS})
HEADS = st.fixed_dictionaries(
    {
        "created_at": st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)),
        "sender": ADDRESSES,
        "to": st.lists(ADDRESSES, min_size=1, max_size=3).map(tuple),
        "cc": LISTS,
        "reply_to": LISTS,
        "subject": SUBJECTS,
        "headers": HEADERS,
    }
)


def compose(email: Email) -> bytes:
    return mime.compose(email, corpus.contents(email))


def check(changes: Mapping[str, Any]) -> bytes:
    """Composes an email with these members; the message must be read alike and be fit for any server."""
    email = replace(corpus.letter(text="Hello\n"), **changes)
    message = compose(email)
    corpus.same(email, corpus.contents(email), message)
    assert message.isascii()
    assert b"\0" not in message
    assert message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")
    assert max(map(len, message.split(b"\r\n"))) <= 998
    return message


@settings(max_examples=60)
@given(HEADS)
def test_any_header_is_read_as_it_was_sent(head: Mapping[str, Any]) -> None:
    check(head)


@given(BODIES)
def test_any_body_is_read_as_it_was_sent(bodies: Mapping[str, Any]) -> None:
    check(bodies)


@given(
    st.lists(
        st.tuples(st.integers(68, 78), st.text("é=. \t", max_size=4), st.sampled_from(["", " ", "\t", "  ", " \t "])),
        min_size=1,
        max_size=4,
    )
)
def test_quoted_printable_lines_have_at_most_76_characters(pieces: list[tuple[int, str, str]]) -> None:
    text = "\n".join("x" * width + middle + blanks for width, middle, blanks in pieces)
    email = corpus.letter(text=f"é\n{text}")
    message = compose(email)
    assert b"quoted-printable" in message
    assert max(map(len, message.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 76
    corpus.same(email, [], message)


@given(
    st.lists(attachments(), max_size=2).map(tuple),
    st.sampled_from([None, "", "<p>Hi</p>"]),
    st.sampled_from([None, "", "Hi"]),
)
def test_any_attachment_is_read_as_it_was_sent(
    files: tuple[Attachment, ...], html: str | None, text: str | None
) -> None:
    check({"attachments": files, "html": html, "text": text})


ATTACK = st.sampled_from(["a\r\nBcc: evil@example.net\r\n\r\nb", "Bcc", "\r\n", "\n", "\r", "\r\n ", " "])
ANYTHING = ATTACK | st.text(st.characters() | st.sampled_from("\r\n\0: "), max_size=20)


def field_names(message: bytes) -> list[bytes]:
    head = message.partition(b"\r\n\r\n")[0]
    return [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]


@settings(max_examples=60)
@given(*[ANYTHING] * 8)
def test_nothing_unvalidated_starts_a_header_or_ends_them(
    name: str, addr: str, subject: str, header: str, value: str, filename: str, content_id: str, message_id: str
) -> None:
    file = Attachment(filename="a", content_type="a/b", content_id="a", size=1, content=b"1")
    email = replace(corpus.letter(text="body", custom=[("X-A", "a")]), attachments=(file,))
    usual = field_names(compose(email))
    changes: list[dict[str, Any]] = [
        {"sender": Address("a@example.org", name)},
        {"to": (Address(addr),)},
        {"to": (Address(addr, "A"),)},
        {"subject": subject},
        {"headers": (("X-A", value),)},
        {"headers": ((header, "a"),)},
        {"attachments": (replace(file, filename=filename),)},
        {"attachments": (replace(file, content_id=content_id),)},
        {"message_id": message_id},
    ]
    for change in changes:
        try:
            message = compose(replace(email, **change))
        except ValueError:
            continue
        custom = header.encode() if change == {"headers": ((header, "a"),)} else b"X-A"
        assert field_names(message) == [custom if field == b"X-A" else field for field in usual]
        assert b"\r\nbcc:" not in message.lower()


@settings(max_examples=30)
@given(HEADS, st.lists(ADDRS, min_size=1, max_size=3))
def test_blind_copies_never_occur_in_the_message(head: Mapping[str, Any], addrs: list[str]) -> None:
    hidden = tuple(Address(f"blind.{addr}", "Blind Name") for addr in addrs)
    email = replace(corpus.letter(text="Hello\n"), **head)
    message = compose(replace(email, bcc=hidden))
    assert message == compose(replace(email, bcc=()))
    assert b"blind." not in message


@given(lines_of(IN_LINE, 400), st.integers(28, 75))
def test_encoded_words_are_short_whole_and_readable(text: str, room: int) -> None:
    words = encoded_word.encode(text, room=room)
    assert all(len(word) <= room for word in words)
    assert not [word for word in words[:-1] if word.startswith("=?utf-8?b?") and word.endswith("=?=")]
    for word in words:
        if not encoded_word.looks_encoded(text):
            encoded_word.decode(word)
    if not encoded_word.looks_encoded(text):
        assert encoded_word.decode(" ".join(words)) == text


@pytest.mark.parametrize("text", ["Re: " + "件名" * 40, "Ваш заказ № 4711 " * 9, "🎉" * 40, "é日" * 40])
def test_only_the_last_encoded_word_is_padded(text: str) -> None:
    *others, last = encoded_word.encode(text, room=60)
    assert not any(word.endswith("=?=") for word in others)
    assert encoded_word.decode(" ".join([*others, last])) == text


LETTERS = st.text("azéß中🎉", min_size=1, max_size=5)


@given(st.lists(LETTERS, max_size=4).map(" ".join), st.lists(LETTERS, min_size=1, max_size=3).map(".".join), LABELS)
def test_smtputf8_address_is_written_as_it_is(name: str, local: str, domain: str) -> None:
    parsed = address.parse(f"{name} <{local}@{domain}.example>", member="to")
    email = replace(corpus.letter(text="a"), to=(parsed,))
    message = compose(email)
    corpus.same(email, [], message)
    assert f"{local}@{domain}.example".encode() in message
    assert mime.envelope(replace(email, life=replace(email.life, recipients=())), [], return_path=None).smtputf8 == (
        not local.isascii()
    )
