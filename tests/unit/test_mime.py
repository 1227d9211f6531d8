"""Messages: their exact form where it matters, and what must never be in them."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from msgspec.structs import replace

from postroom.mail import mime
from postroom.mail.email import Address, Email, Recipient, RecipientStatus
from tests import corpus, reading

HARD = {**corpus.emails(), **corpus.emails_needing_smtputf8()}


def compose(email: Email) -> bytes:
    return mime.compose(email, corpus.contents(email))


def lines(email: Email) -> list[str]:
    return compose(email).decode().split("\r\n")


def header_lines(email: Email, name: str) -> list[str]:
    """The lines of one header field, folding kept."""
    head = lines(email)
    start = next(n for n, line in enumerate(head) if line.startswith(f"{name}:"))
    end = next(n for n in range(start + 1, len(head)) if not head[n].startswith((" ", "\t")))
    return head[start:end]


def types(email: Email) -> list[str]:
    """The content types of all parts, outermost first."""
    return [part.get_content_type() for part in message_from_bytes(compose(email), policy=policy.default).walk()]


@pytest.mark.parametrize("name", HARD)
def test_hard_email_is_read_as_it_was_sent(name: str) -> None:
    email = HARD[name]
    corpus.same(email, corpus.contents(email), compose(email))


@pytest.mark.parametrize("name", HARD)
def test_message_is_fit_for_any_server(name: str) -> None:
    email = HARD[name]
    message = compose(email)
    assert message.endswith(b"\r\n")
    assert b"\0" not in message
    assert message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")
    assert max(map(len, message.split(b"\r\n"))) <= 998
    assert message.isascii() == (name not in corpus.emails_needing_smtputf8())
    assert compose(email) == message


def test_judge_notices_what_was_changed_on_the_way() -> None:
    email = HARD["inline image and attachment"]
    message = compose(email)
    for old, new in (
        (b"Your order", b"My order"),
        (b"<p>Hi", b"<p>Ho"),
        (b"logo.png", b"name.png"),
        (b"iVBOR", b"aVBOR"),
    ):
        assert old in message
        with pytest.raises(AssertionError):
            corpus.same(email, corpus.contents(email), message.replace(old, new))


def test_plain_email_reads_like_one() -> None:
    email = replace(
        corpus.letter(
            cc=["Zoë <zoe@example.com>"], reply_to=["help@example.org"], text="Hello\n", custom=[("X-A", "b")]
        ),
        message_id="<1@example.org>",
        created_at=corpus.NOW,
    )
    assert lines(email) == [
        "From: Acme Shop <shop@example.org>",
        "To: bob@example.com",
        "Cc: =?utf-8?q?Zo=C3=AB?= <zoe@example.com>",
        "Reply-To: help@example.org",
        "Subject: Your order",
        "Date: Sun, 29 Mar 2026 12:34:56 +0000",
        "Message-ID: <1@example.org>",
        "X-A: b",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 7bit",
        "",
        "Hello",
        "",
    ]


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        (corpus.letter(text="a"), ["text/plain"]),
        (corpus.letter(text=""), ["text/plain"]),
        (corpus.letter(html="a"), ["multipart/alternative", "text/plain", "text/html"]),
        (corpus.letter(html="a", text="b"), ["multipart/alternative", "text/plain", "text/html"]),
        (corpus.letter(html="a", text=""), ["text/html"]),
        (corpus.letter(html="<img src='cid:x'>"), ["text/html"]),
        (HARD["attachment alone"], ["multipart/mixed", "text/plain", "application/pdf"]),
        (
            HARD["inline image and attachment"],
            [
                *("multipart/mixed", "multipart/alternative", "text/plain"),
                *("multipart/related", "text/html", "image/png", "application/pdf"),
            ],
        ),
        (HARD["inline image without html"], ["multipart/mixed", "text/plain", "image/png"]),
    ],
)
def test_parts_are_nested_as_readers_expect(email: Email, expected: list[str]) -> None:
    assert types(email) == expected


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", "7bit"),
        ("x" * 998 + "\n" + "y" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("Grüße aus Köln und von überall\n", "quoted-printable"),
        ("Grüße und so\n" * 10, "quoted-printable"),
        ("日本語", "base64"),
        ("Привет, мир", "base64"),
    ],
)
def test_body_takes_the_plainest_encoding_that_carries_it(text: str, encoding: str) -> None:
    assert f"Content-Transfer-Encoding: {encoding}" in lines(corpus.letter(text=text))


def test_base64_body_has_crlf_line_ends_inside_too() -> None:
    part = message_from_bytes(compose(corpus.letter(text="日本語\n二\r三")), policy=policy.default)
    assert part.get_payload(decode=True) == "日本語\r\n二\r\n三".encode()


def test_body_line_that_looks_like_a_boundary_is_encoded() -> None:
    email = corpus.letter(html="<p>a</p>", text="a")
    hostile = replace(email, text=f"--=_{email.id}_a\n\n--=_{email.id}_a--\n", html=f"--=_{email.id}_a")
    assert types(hostile) == ["multipart/alternative", "text/plain", "text/html"]
    corpus.same(hostile, [], compose(hostile))


@pytest.mark.parametrize("name", ["subject of 900 characters", "long names", "ten recipients", "emoji names"])
def test_header_lines_are_folded_before_78_characters(name: str) -> None:
    head = compose(HARD[name]).decode().partition("\r\n\r\n")[0]
    assert max(map(len, head.split("\r\n"))) <= 78


def test_encoded_words_keep_to_their_limit_and_to_whole_characters() -> None:
    for line in header_lines(HARD["subject of 900 characters"], "Subject"):
        (word,) = line.removeprefix("Subject:").split()
        assert len(word) <= 75
        read = EmailMessage(policy=policy.default)
        read["Subject"] = word
        assert "\ufffd" not in str(read["Subject"])


def test_encoded_word_is_b_or_q_whichever_is_shorter() -> None:
    assert header_lines(corpus.letter(subject="Überraschung", text=""), "Subject") == [
        "Subject: =?utf-8?q?=C3=9Cberraschung?="
    ]
    assert header_lines(corpus.letter(subject="日本語", text=""), "Subject") == ["Subject: =?utf-8?b?5pel5pys6Kqe?="]


def test_text_that_looks_like_an_encoded_word_is_encoded() -> None:
    email = corpus.letter(subject="=?utf-8?q?evil?=", to=['"=?utf-8?q" <a@example.com>'], text="")
    assert "=?utf-8?q?evil?=" not in compose(email).decode()
    assert '"=?' not in compose(email).decode()
    assert "=?utf-8?q <" not in compose(email).decode()
    assert reading.by_standard_library(compose(email)).subject == "=?utf-8?q?evil?="


def test_address_lists_are_folded_between_addresses() -> None:
    for line in header_lines(HARD["ten recipients"], "Cc"):
        assert line.count("<") == line.count(">") == 1


def test_structured_header_stays_ascii_and_whole() -> None:
    unsubscribe = dict(HARD["custom headers"].headers)["List-Unsubscribe"]
    assert " ".join(line.strip() for line in header_lines(HARD["custom headers"], "List-Unsubscribe")) == (
        f"List-Unsubscribe: {unsubscribe}"
    )


def test_bcc_is_never_written() -> None:
    message = compose(HARD["blind copies"]).lower()
    assert b"bcc" not in message
    assert b"secret" not in message


def test_reduced_file_name_stands_where_no_parser_prefers_it() -> None:
    email = corpus.letter(text="", files=[("Zoë.pdf", None, None, b"1")])
    assert header_lines(email, "Content-Disposition") == [
        "Content-Disposition: attachment;",
        " filename*=UTF-8''Zo%C3%AB.pdf",
    ]
    assert header_lines(email, "Content-Type") != []
    assert ' name="Zo_.pdf"' in lines(email)


def test_inline_text_is_no_body() -> None:
    email = corpus.letter(html="<p>a</p>", text="b", files=[("a.txt", "text/plain", "a", b"c")])
    read = reading.by_standard_library(compose(email))
    assert (read.html, read.text) == ("<p>a</p>", "b")
    assert [(file.disposition, file.content) for file in read.files] == [("inline", b"c")]


def test_attachment_type_keeps_its_parameters() -> None:
    assert 'Content-Type: text/plain; charset="iso-8859-1"; format=flowed' in lines(HARD["attachments of many types"])


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "a\r\nBcc: evil@example.net"},
        {"subject": "a\nb"},
        {"subject": "a\u2028\x85b"},
        {"headers": (("X-A", "a\r\n\r\nbody"),)},
        {"headers": (("X-A: b\r\nBcc", "evil@example.net"),)},
        {"headers": (("X-A\r", "a"),)},
        {"headers": (("Bcc", "evil@example.net"),)},
        {"headers": ((" ", "a"),)},
        {"sender": Address("a@example.org", "A\r\nBcc: evil@example.net")},
        {"sender": Address("a@example.org", "Ä\r\n\r\n")},
        {"sender": Address("a@example.org>\r\nBcc: <evil@example.net")},
        {"to": (Address("a@example.org, evil@example.net"),)},
        {"reply_to": (Address("a b@example.org", "A"),)},
        {"message_id": "<1@example.org>\r\nBcc: evil@example.net"},
        {"message_id": "1@example.org"},
        {"text": "a\0b"},
        {"html": "\ud800"},
    ],
    ids=ascii,
)
def test_value_that_got_past_validation_is_not_written(changes: dict[str, object]) -> None:
    email = corpus.letter(text="a")
    with pytest.raises(ValueError):  # noqa: PT011  (any: it is a bug that it came so far)
        compose(replace(email, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"filename": 'a"\r\nX: b'},
        {"content_type": "text/plain\r\nX: b"},
        {"content_type": "text/plain\n"},
        {"content_id": "a>\r\nX: b"},
    ],
    ids=ascii,
)
def test_description_that_got_past_validation_starts_no_header(changes: dict[str, str]) -> None:
    email = corpus.letter(text="a", files=[("a.txt", None, None, b"1")])
    hostile = replace(email, attachments=(replace(email.attachments[0], **changes),))  # type: ignore[arg-type]
    try:
        message = compose(hostile)
    except ValueError:
        return
    assert b"\r\nX:" not in message


def test_contents_must_match_their_descriptions() -> None:
    email = HARD["inline image"]
    for contents in ([], [b"a", b"b"]):
        with pytest.raises(ValueError, match="argument"):
            mime.compose(email, contents)


def test_envelope_is_for_the_pending_recipients_of_this_attempt() -> None:
    email = corpus.letter(to=["a@example.com"], cc=["b@example.com"], bcc=["c@example.com"], text="Hi")
    first, *rest = email.life.recipients
    done = (replace(first, status=RecipientStatus.SENT), *rest)
    email = replace(email, life=replace(email.life, recipients=done, attempts=3))
    envelope = mime.envelope(email, [], return_path=None)
    assert envelope.email_id == email.id
    assert envelope.mail_from == "shop@example.org"
    assert envelope.rcpt_to == ("b@example.com", "c@example.com")
    assert envelope.data == mime.compose(email, [])
    assert envelope.attempt == 3
    assert not envelope.smtputf8
    assert mime.envelope(email, [], return_path="bounces@example.org").mail_from == "bounces@example.org"


@pytest.mark.parametrize("member", ["sender", "to", "cc", "bcc", "reply_to"])
def test_smtputf8_is_asked_for_when_any_address_needs_it(member: str) -> None:
    value: object = "ü@example.com" if member == "sender" else ["ü@example.com"]
    email = corpus.letter(**{member: value}, text="Hi")  # type: ignore[arg-type]
    assert mime.envelope(email, [], return_path=None).smtputf8


def test_smtputf8_is_not_asked_for_a_blind_copy_that_is_done() -> None:
    email = corpus.letter(bcc=["ü@example.com"], text="Hi")
    done: tuple[Recipient, ...] = tuple(
        replace(r, status=RecipientStatus.SENT) if not r.address.isascii() else r for r in email.life.recipients
    )
    email = replace(email, life=replace(email.life, recipients=done))
    assert not mime.envelope(email, [], return_path=None).smtputf8
    assert mime.envelope(email, [], return_path="ü@example.org").smtputf8
