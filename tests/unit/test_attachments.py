"""Attachments: how contents are decoded, and which names, types and ids are kept, mended or refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import InvalidAttachment
from postroom.mail import attachments
from postroom.mail.email import Attachment


def decode(content: str | list[int], content_type: str | None = None, limit: int = 1_000) -> bytes:
    return read(content, content_type, limit).octets


def read(content: str | list[int], content_type: str | None = None, limit: int = 1_000) -> attachments.Content:
    return attachments.decode(content, content_type=content_type, member="attachments[0].content", limit=limit)


def describe(
    filename: str | None = None,
    content_type: str | None = None,
    content_id: str | None = None,
    content: bytes = b"x",
    is_utf8: bool = False,
) -> Attachment:
    return attachments.describe(
        filename=filename,
        content_type=content_type,
        content_id=content_id,
        content=content,
        is_utf8=is_utf8,
        member="attachments[0]",
    )


@given(st.binary(min_size=1, max_size=300), st.sampled_from(["", "\n", "\r\n"]), st.integers(1, 80))
def test_base64_with_line_breaks_and_octet_lists_are_decoded(data: bytes, line_end: str, width: int) -> None:
    encoded = base64.b64encode(data).decode()
    broken = line_end.join(encoded[start : start + width] for start in range(0, len(encoded), width)) + line_end
    assert decode(broken, limit=len(data)) == data
    assert decode(list(data), limit=len(data)) == data
    with pytest.raises(InvalidAttachment, match="larger than"):
        decode(broken, limit=len(data) - 1)
    with pytest.raises(InvalidAttachment, match="larger than"):
        decode(list(data), limit=len(data) - 1)


@pytest.mark.parametrize(
    "content",
    [
        "YQ",
        "YQ=",
        "YQ===",
        "YWJj=",
        "YQ==YQ==",
        "=YQ=",
        "Y Q==",
        "YQ==x",
        "a-_b",
        "YQé=",
        "data:text/plain;base64,YQ==",
        "hi there!",
    ],
)
def test_text_that_is_not_base64_is_refused(content: str) -> None:
    for content_type in (None, "application/pdf"):
        with pytest.raises(InvalidAttachment, match="not valid base64"):
            decode(content, content_type)


@pytest.mark.parametrize(
    "content",
    [
        "VGhlIHF1aWNrIGJyb3duIGZveA",  # only the padding is missing
        "YQ=",
        "YWJj=",
        "data:text/plain;base64,YQ==",
        " DATA:,hi!",
    ],
)
@pytest.mark.parametrize("content_type", [None, "application/pdf", "text/csv", "text/plain; charset=utf-8"])
def test_base64_that_is_malformed_is_refused_whatever_the_type(content: str, content_type: str | None) -> None:
    with pytest.raises(InvalidAttachment, match="not valid base64"):
        decode(content, content_type)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/plain; charset=iso-8859-1", "text/plain; charset=utf-8"),
        ('Text/Calendar; CHARSET="us-ascii"; method=REQUEST', "text/calendar; method=REQUEST; charset=utf-8"),
        ('text/x; a="; charset=x";charset=y', 'text/x; a="; charset=x"; charset=utf-8'),
    ],
)
def test_text_that_is_taken_as_it_is_is_labelled_as_what_it_is(written: str, kept: str) -> None:
    octets, is_utf8 = read("Grüße", written)
    assert octets == "Grüße".encode()
    assert describe("a.txt", written, is_utf8=is_utf8).content_type == kept


def test_text_in_base64_keeps_its_label() -> None:
    written = "text/plain; charset=iso-8859-1"
    octets, is_utf8 = read(base64.b64encode("Grüße".encode("latin-1")).decode(), written)
    assert octets == "Grüße".encode("latin-1")
    assert describe("a.txt", written, is_utf8=is_utf8).content_type == written


def test_text_that_is_not_base64_is_taken_as_it_is_for_text_types() -> None:
    calendar = "BEGIN:VCALENDAR\r\nSUMMARY:Grüße\r\nEND:VCALENDAR\r\n"
    assert decode(calendar, "Text/Calendar; method=REQUEST") == calendar.encode()
    assert decode("hello world", "text/plain") == b"hello world"
    assert decode("YQ==", "text/plain") == b"a"
    with pytest.raises(InvalidAttachment, match="larger than"):
        decode("ü" * 501, "text/plain")
    with pytest.raises(InvalidAttachment, match="surrogate"):
        decode("\ud800!", "text/plain")


@pytest.mark.parametrize("content", [[256], [-1], [1.5], ["a"], [None], [True], [[1]], [2**70]])
def test_list_of_anything_but_octets_is_refused(content: list[int]) -> None:
    with pytest.raises(InvalidAttachment, match="0 to 255"):
        decode(content)


@pytest.mark.parametrize("content", ["", "\r\n", []])
def test_empty_content_is_refused(content: str | list[int]) -> None:
    with pytest.raises(InvalidAttachment, match="empty"):
        decode(content)


@given(st.text(st.characters(), max_size=40), st.sampled_from([None, "text/plain", "image/png"]))
def test_any_text_is_decoded_or_invalid(content: str, content_type: str | None) -> None:
    try:
        assert decode(content, content_type, limit=30)
    except InvalidAttachment as refused:
        assert refused.member == "attachments[0].content"  # noqa: PT017


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("Übersicht für Zoë.pdf", "Übersicht für Zoë.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("a/b\\c/d.txt", "d.txt"),
        (" padded.txt ", "padded.txt"),
        (None, None),
        ("", None),
        (".", None),
        ("..", None),
        ("dir/", None),
        ("x" * 255, "x" * 255),
    ],
)
def test_file_name_is_cut_to_its_last_segment(written: str | None, kept: str | None) -> None:
    assert describe(written).filename == kept


@pytest.mark.parametrize(
    "written", ["a\0.txt", "a\r\nb", "a\tb", "exe\u202ecod.doc", "a\u2069", "\u2028", "\ud800", "x" * 256]
)
def test_deceiving_or_long_file_name_is_refused(written: str) -> None:
    with pytest.raises(InvalidAttachment) as caught:
        describe(written)
    assert caught.value.member == "attachments[0].filename"


@pytest.mark.parametrize(
    ("filename", "guessed"),
    [
        ("a.pdf", "application/pdf"),
        ("A.PNG", "image/png"),
        ("a.b.csv", "text/csv"),
        ("data.csv.gz", "application/gzip"),
        ("a.tgz", "application/gzip"),
        ("a.csv.Z", "application/octet-stream"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.ics", "text/calendar"),
        ("mail.eml", "application/octet-stream"),
        ("csv", "application/octet-stream"),
        ("data:multipart", "application/octet-stream"),
        ("data:multipart,x.unknown", "application/octet-stream"),
        ("http:x.pdf", "application/pdf"),
        (None, "application/octet-stream"),
    ],
)
def test_type_is_guessed_from_the_ending(filename: str | None, guessed: str) -> None:
    assert describe(filename).content_type == guessed


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Image/PNG", "image/png"),
        ('text/plain; charset="utf-8"', 'text/plain; charset="utf-8"'),
        ("text/calendar;method=REQUEST; charset=utf-8", "text/calendar;method=REQUEST; charset=utf-8"),
        ('text/plain; name="a \\"b\\".txt"', 'text/plain; name="a \\"b\\".txt"'),
        ("text/plain;", "text/plain"),
        ("", "application/pdf"),
        (None, "application/pdf"),
    ],
)
def test_declared_type_is_kept_with_its_parameters(written: str | None, kept: str) -> None:
    assert describe("a.pdf", written).content_type == kept


@pytest.mark.parametrize(
    "written",
    [
        "x",
        "text/",
        "/plain",
        "text/plain\r\nX: 1",
        "text/plain\n",
        "text/pläin",
        "text/plain; charset",
        "text/plain; charset=ü",
        'text/plain; a="b',
        "text/plain, text/html",
        "message/rfc822",
        "Multipart/Mixed; boundary=x",
        "text/plain; a=" + "b" * 255,
        "text/plain" + '; a="' * 2**16,
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_malformed_or_composite_type_is_refused(written: str) -> None:
    with pytest.raises(InvalidAttachment) as caught:
        describe("a.pdf", written)
    assert caught.value.member == "attachments[0].content_type"


def test_content_id_makes_it_inline_and_must_be_plain() -> None:
    assert describe(content_id="logo.1@example.org").content_id == "logo.1@example.org"
    assert describe(content_id="c" * 127).content_id == "c" * 127
    assert describe(content_id="").content_id is None
    for content_id in ("c" * 128, "<logo>", "lo go", "logo\r\n", "lögo", "\0"):
        with pytest.raises(InvalidAttachment) as caught:
            describe(content_id=content_id)
        assert caught.value.member == "attachments[0].content_id"


def test_size_is_of_the_decoded_content() -> None:
    assert describe(content=b"12345").size == 5
    assert describe(content=b"12345").content == b"12345"


@given(*[st.none() | st.text(st.characters(), max_size=30)] * 3)
def test_any_description_is_kept_or_invalid(
    filename: str | None, content_type: str | None, content_id: str | None
) -> None:
    try:
        made = describe(filename, content_type, content_id)
    except InvalidAttachment:
        return
    assert made.content_type.isascii()
    assert made.filename is None or "/" not in made.filename
