"""Custom headers, subjects and bodies: what is kept, ignored and refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import InvalidInput
from postroom.mail import headers

UNSAFE = [chr(c) for c in range(0x20) if chr(c) != "\t"] + [
    "\x7f",
    "\x80",
    "\x85",
    "\x9f",
    "\u2028",
    "\u2029",
    "\ud800",
]


def clean(*pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return headers.clean(pairs, member="headers")


def test_custom_headers_are_kept_in_order() -> None:
    pairs = (("X-B", "2"), ("X-A", "1"), ("x-b", "Grüße\tan alle"), ("X-" + "n" * 74, ""))
    assert clean(*pairs) == pairs


RESERVED = """From To Cc Bcc Subject Reply-To Sender Date Message-ID MIME-Version Content-Type Content-Transfer-Encoding
Content-X Return-Path Received DKIM-Signature Resent-To Resent-From"""


@pytest.mark.parametrize("name", RESERVED.split())
def test_reserved_header_is_ignored_whatever_it_holds(name: str) -> None:
    assert clean((name, "x"), (name.lower(), "a\r\n b"), (name.upper(), "\0"), ("X-A", "1")) == (("X-A", "1"),)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nBcc", "ä", "a\t", "\x7f", "n" * 77, "n" * 100_000])
def test_malformed_header_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        clean((name, "x"))
    assert caught.value.member == "headers"


@pytest.mark.parametrize("character", UNSAFE, ids=ascii)
def test_header_value_that_could_break_its_line_is_refused(character: str) -> None:
    with pytest.raises(InvalidInput, match="control character") as caught:
        clean(("X-A", f"a{character}Bcc: secret@example.net"))
    assert caught.value.member == "headers.X-A"
    assert "secret" not in str(caught.value)


def test_header_value_is_stripped_and_has_a_limit() -> None:
    assert clean(("X-A", " \ta b\t ")) == (("X-A", "a b"),)
    assert clean(("X-A", "v" * 8_192))
    for value in ("v" * 8_193, "ü" * 4_097, "v" * 100_000):
        with pytest.raises(InvalidInput, match="longer"):
            clean(("X-A", value))


STRUCTURED = ["List-Unsubscribe", "list-id", "References", "In-Reply-To", "X-Original-Message-ID"]


@pytest.mark.parametrize("name", STRUCTURED)
def test_structured_header_is_refused_where_it_would_have_to_be_encoded(name: str) -> None:
    longest = f"<{'a' * (998 - len(name) - len(': <>'))}>"
    assert clean((name, f"<one@example.com> {longest}"))
    with pytest.raises(InvalidInput, match="does not fit on a line of 998 octets") as caught:
        clean((name, f"<one@example.com> <a{longest[1:]}"))
    assert caught.value.member == f"headers.{name}"


@pytest.mark.parametrize("name", STRUCTURED)
def test_structured_header_is_refused_where_a_bracket_holds_more_than_ascii(name: str) -> None:
    assert clean((name, "für <https://example.org/%C3%BC>"))
    for value in (
        "<https://exämple.org>",
        "<a@example.org> <ü@example.org>",
        "<mailto:a@example.org?subject=für>, <b>",
    ):
        with pytest.raises(InvalidInput, match="percent-encode"):
            clean((name, value))


def test_at_most_fifty_headers_are_kept_and_ignored_ones_do_not_count() -> None:
    fifty = [(f"X-{n}", "") for n in range(50)]
    assert len(clean(*fifty, ("To", "x"), ("Content-Type", "x"))) == 50
    with pytest.raises(InvalidInput, match="50"):
        clean(*fifty, ("X-50", ""))


@pytest.mark.parametrize("character", UNSAFE, ids=ascii)
def test_subject_that_could_break_its_line_is_refused(character: str) -> None:
    with pytest.raises(InvalidInput, match="control character"):
        headers.check_text(f"a{character}b", member="subject", limit=998)


def test_subject_may_be_empty_and_has_a_limit_in_characters() -> None:
    assert headers.check_text("", member="subject", limit=998) == ""
    assert headers.check_text("🎉" * 998, member="subject", limit=998) == "🎉" * 998
    with pytest.raises(InvalidInput, match="998"):
        headers.check_text("a" * 999, member="subject", limit=998)


def test_body_may_hold_any_line_ends_but_no_nul_and_no_half_character() -> None:
    body = "a\rb\nc\r\nd\x0b\x0c\x1b\u2028"
    assert headers.check_body(body, member="text", limit=100) == body
    assert headers.check_body("", member="text", limit=0) == ""
    with pytest.raises(InvalidInput, match="NUL"):
        headers.check_body("a\0b", member="text", limit=100)
    with pytest.raises(InvalidInput, match="surrogate"):
        headers.check_body("a\udfff", member="text", limit=100)


def test_body_limit_counts_octets() -> None:
    assert headers.check_body("ü" * 50, member="html", limit=100)
    for body in ("ü" * 51, "a" * 101):
        with pytest.raises(InvalidInput, match="100 octets"):
            headers.check_body(body, member="html", limit=100)


@given(st.lists(st.tuples(st.text(max_size=12), st.text(st.characters(), max_size=12)), max_size=5))
def test_whatever_is_kept_fits_on_a_line(pairs: list[tuple[str, str]]) -> None:
    try:
        kept = clean(*pairs)
    except InvalidInput:
        return
    for name, value in kept:
        assert len(f"{name}: {value}".splitlines()) == 1
        assert name.isascii()
        assert ":" not in name
        value.encode()
