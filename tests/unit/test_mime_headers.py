"""Header fields that programs read: what they look for stays as it is."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from postroom.mail import mime, mime_headers
from tests import corpus


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("Zoë and News <news.example.org>", "=?utf-8?q?Zo=C3=AB_and_News?= <news.example.org>"),
        ("日本語 <a@example.org>", "=?utf-8?b?5pel5pys6Kqe?= <a@example.org>"),
        ("Zoë and the News  <b>", "=?utf-8?q?Zo=C3=AB_and_the_News__=3Cb=3E?="),
        ("日本語 <=?utf-8?q?b?=>", "=?utf-8?b?5pel5pys6KqeIDw9P3V0Zi04P3E/Yj89Pg==?="),
    ],
)
def test_id_in_angle_brackets_behind_a_name_is_not_encoded(value: str, written: str) -> None:
    email = corpus.letter(text=".", custom=[("List-Id", value)])
    message = mime.compose(email, [])
    assert f"\r\nList-Id: {written}\r\n".encode() in message
    corpus.same(email, [], message)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (
            "<mailto:off@example.org>, <https://example.org/off> (nur für Mitglieder)",
            "<mailto:off@example.org>, <https://example.org/off>\r\n =?utf-8?b?KG51ciBmw7xyIE1pdGdsaWVkZXIp?=",
        ),
        (
            "Zoë <zoe@example.org>, Bob <bob@example.org>",
            "=?utf-8?q?Zo=C3=AB?= <zoe@example.org>, =?utf-8?q?Bob?=\r\n <bob@example.org>",
        ),
        (" <a@example.org> é", "=?utf-8?b?IDxhQGV4YW1wbGUub3JnPiDDqQ==?="),
    ],
)
def test_no_address_in_angle_brackets_is_encoded_whatever_stands_around_it(value: str, written: str) -> None:
    assert mime_headers.text("X-Off", value) == f"X-Off: {written}\r\n"


def test_scheduled_email_has_the_date_for_which_it_was_scheduled() -> None:
    email = corpus.letter(text=".")
    email = replace(email, life=replace(email.life, scheduled_at=datetime(2027, 1, 9, 8, tzinfo=UTC)))
    assert b"\r\nDate: Sat, 09 Jan 2027 08:00:00 +0000\r\n" in mime.compose(email, [])


def test_long_name_before_an_id_is_folded() -> None:
    email = corpus.letter(text=".", custom=[("List-Id", "Zoë " * 60 + "<news.example.org>")])
    message = mime.compose(email, [])
    assert max(map(len, message.split(b"\r\n"))) <= 78
    assert b" <news.example.org>\r\n" in message
    corpus.same(email, [], message)


@pytest.mark.parametrize("shift", range(40))
def test_line_with_an_encoded_word_has_at_most_76_characters(shift: int) -> None:
    names = [f"Zoë {'abcdef ü' * times}".strip() for times in range(12)]
    to = [f"{name} <{'u' * (1 + shift)}@example.org>" for name in names]
    subject = f"Zoë {'x ' * shift}" + "ü" * shift
    email = corpus.letter(text=".", to=to, subject=subject, custom=[("List-Id", f"{subject} <{'n' * shift}.example>")])
    message = mime.compose(email, [])
    head = message.partition(b"\r\n\r\n")[0]
    assert [line for line in head.split(b"\r\n") if b"=?" in line and len(line) > 76] == []
    corpus.same(email, [], message)
