"""The dialogue with the relay, byte by byte, without sockets: what is written when all goes well, or cannot begin."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from postroom.mail.address import parse
from postroom.mail.outcome import Outcome, Phase, Reply, Verdict
from tests.dialogue import ALL, EMAIL, GO, PIPELINED, STEPWISE, TWO, dot, dotted, outcomes, ready, verdicts

# -- the good way ------------------------------------------------------------------------------------------------------


def test_pipelined_email_goes_out_in_two_writes_and_waits_before_its_body_and_dot() -> None:
    dialogue = ready(*ALL)
    assert dialogue.begin(EMAIL) == PIPELINED
    assert dialogue.receive(GO) == b""
    assert dialogue.awaits_dot
    assert dot(dialogue) == b"Subject: x\r\n\r\nHi\r\n.\r\n"


def test_large_body_goes_out_first_and_waits_before_the_dot() -> None:
    data = b"x" * 70 + b"\r\n"
    large, dialogue = replace(EMAIL, data=data * 1000), ready("PIPELINING")
    dialogue.begin(large)
    assert dialogue.receive(GO) == large.data
    assert dialogue.awaits_dot
    assert dot(dialogue) == b".\r\n"


def test_accepted_email_keeps_the_reply_verbatim() -> None:
    dialogue = dotted()
    dialogue.receive(b"250 2.0.0 Ok: queued as 4ABC\r\n")
    assert outcomes(dialogue) == (
        Outcome(
            recipient="b@example.com",
            verdict=Verdict.ACCEPTED,
            phase=Phase.DOT,
            message="250 2.0.0 Ok: queued as 4ABC",
            reply=Reply(code=250, enhanced="2.0.0", text="Ok: queued as 4ABC"),
        ),
    )
    assert not dialogue.broken


def test_without_pipelining_each_command_waits_for_the_reply_to_the_one_before() -> None:
    dialogue = ready(*STEPWISE)
    assert dialogue.begin(TWO) == b"MAIL FROM:<a@example.org>\r\n"
    assert dialogue.receive(b"250 ok\r\n") == b"RCPT TO:<b@example.com>\r\n"
    assert dialogue.receive(b"250 ok\r\n") == b"RCPT TO:<c@example.com>\r\n"
    assert dialogue.receive(b"250 ok\r\n") == b"DATA\r\n"
    assert dialogue.receive(b"354 go\r\n") == b""
    assert dot(dialogue) == EMAIL.data + b".\r\n"


def test_connection_carries_email_after_email() -> None:
    dialogue = dotted()
    dialogue.receive(b"250 ok\r\n")
    dialogue.finish()
    assert dialogue.begin(EMAIL) == PIPELINED


@given(st.lists(st.integers(1, 40), max_size=8))
def test_replies_may_come_in_any_pieces(cuts: list[int]) -> None:
    stream, dialogue, written, at = GO, ready(*ALL), b"", 0
    dialogue.begin(EMAIL)
    for cut in [*cuts, len(stream)]:
        written += dialogue.receive(stream[at : at + cut])
        at += cut
    assert written + dot(dialogue) == EMAIL.data + b".\r\n"


def test_multi_line_replies_count_as_one() -> None:
    dialogue = ready(*ALL)
    dialogue.begin(EMAIL)
    assert dialogue.receive(b"250-first\r\n250 second\r\n250 ok\r\n354-go\r\n354 on\r\n") == b""
    assert dialogue.awaits_dot


# -- dots, sizes, parameters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "written"),
    [
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n"),
        (b"a\r\n..b\r\n\r\n.c", b"a\r\n...b\r\n\r\n..c\r\n"),
        (b"no end", b"no end\r\n"),
        (b"", b"\r\n"),
    ],
)
def test_body_is_dot_stuffed_and_ends_with_crlf(data: bytes, written: bytes) -> None:
    dialogue = ready(*ALL)
    dialogue.begin(replace(EMAIL, data=data))
    assert dialogue.receive(GO) + dot(dialogue) == written + b".\r\n"


@given(st.lists(st.sampled_from([b".", b"..", b"a", b"", b".a", b"\r\n"]), max_size=12))
def test_no_body_can_contain_the_end_of_data(parts: list[bytes]) -> None:
    dialogue = ready(*ALL)
    dialogue.begin(replace(EMAIL, data=b"\r\n".join(parts)))
    body = dialogue.receive(GO) + dot(dialogue)
    assert (b"\r\n" + body).find(b"\r\n.\r\n") == len(body) - len(b".\r\n")


@pytest.mark.parametrize("data", [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"a\r\n.\n", b"a\r\n.\r", b"\n.\r\n"])
def test_message_with_bare_line_ends_never_reaches_the_wire(data: bytes) -> None:
    dialogue = ready(*ALL)
    assert dialogue.begin(replace(EMAIL, data=data)) == b""
    assert verdicts(dialogue) == [Verdict.REJECTED]
    assert not dialogue.broken


@pytest.mark.parametrize("text", ["نمی\u200cشود@example.com", "क्\u200dष@example.com"])
def test_address_with_joiners_that_is_accepted_reaches_the_wire(text: str) -> None:
    addr = parse(text, member="to").addr
    dialogue = ready(*ALL)
    written = dialogue.begin(replace(EMAIL, rcpt_to=(addr,), smtputf8=True))
    assert f"RCPT TO:<{text}>\r\n".encode() in written


@pytest.mark.parametrize(
    "address",
    [
        "a b@example.com",
        "a@example.com\r\nRSET",
        "a\n@b",
        "a\0@b",
        "a\x7f@b",
        "a\u2028@b",
        "<a@b>",
        "a@b> NOTIFY=NEVER",
    ],
)
def test_address_with_control_characters_never_reaches_the_wire(address: str) -> None:
    for envelope in (replace(EMAIL, mail_from=address), replace(EMAIL, rcpt_to=("x@y.example", address))):
        dialogue = ready(*ALL)
        assert dialogue.begin(envelope) == b""
        got = outcomes(dialogue)
        assert {outcome.verdict for outcome in got} == {Verdict.REJECTED}
        assert len(got) == len(envelope.rcpt_to)
        assert not any(address in outcome.message for outcome in got)


@given(st.text(max_size=30))
def test_no_address_makes_a_second_command(address: str) -> None:
    dialogue = ready(*STEPWISE)
    written = dialogue.begin(replace(EMAIL, mail_from=address, smtputf8=True))
    assert written.count(b"\n") == written.count(b"\r\n") == (1 if written else 0)


def test_message_larger_than_the_relay_takes_is_rejected_without_sending() -> None:
    dialogue = ready("PIPELINING", "SIZE 10")
    assert dialogue.begin(EMAIL) == b""
    (outcome,) = outcomes(dialogue)
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.reply is not None
    assert (outcome.reply.code, outcome.reply.enhanced) == (552, "5.3.4")


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0", "SIZE many", f"SIZE {'9' * 50}"])
def test_size_without_a_usable_limit_limits_nothing(size: str) -> None:
    assert ready("PIPELINING", size).begin(EMAIL) == PIPELINED


def test_eight_bit_message_says_so() -> None:
    dialogue = ready(*ALL)
    assert b" BODY=8BITMIME\r\n" in dialogue.begin(replace(EMAIL, data="é\r\n".encode()))


def test_eight_bit_message_is_rejected_where_the_relay_takes_seven() -> None:
    dialogue = ready("PIPELINING")
    assert dialogue.begin(replace(EMAIL, data="é\r\n".encode())) == b""
    assert verdicts(dialogue) == [Verdict.REJECTED]


def test_international_email_says_so() -> None:
    dialogue = ready(*ALL)
    written = dialogue.begin(replace(EMAIL, rcpt_to=("jürgen@example.com",), smtputf8=True))
    assert b" SMTPUTF8\r\n" in written
    assert "RCPT TO:<jürgen@example.com>".encode() in written


def test_international_recipient_alone_is_refused_by_a_relay_without_smtputf8() -> None:
    dialogue = ready("PIPELINING", "8BITMIME")
    envelope = replace(EMAIL, rcpt_to=("jürgen@example.com", "b@example.com"), smtputf8=True)
    assert dialogue.begin(envelope) == PIPELINED.replace(b" SIZE=18", b"")
    dialogue.receive(GO)
    assert dialogue.transaction is not None
    dialogue.transaction.write_dot()
    dialogue.receive(b"250 ok\r\n")
    assert verdicts(dialogue) == [Verdict.PERMANENT, Verdict.ACCEPTED]


@pytest.mark.parametrize("changes", [{"mail_from": "ä@example.org"}, {"data": "Subject: ä\r\n\r\n".encode()}])
def test_international_sender_or_header_is_rejected_by_a_relay_without_smtputf8(changes: dict[str, Any]) -> None:
    dialogue = ready("PIPELINING", "8BITMIME")
    assert dialogue.begin(replace(EMAIL, smtputf8=True, **changes)) == b""
    (outcome,) = outcomes(dialogue)
    assert outcome.verdict is Verdict.REJECTED
    assert "SMTPUTF8" in outcome.message
