"""The dialogue with the relay, byte by byte, without sockets: what is written, and which outcome follows from what."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mail.outcome import Envelope, Outcome, Phase, Reply, Verdict
from postroom.transport.relay import Relay, Tls
from postroom.transport.smtp_dialogue import Dialogue

RELAY = Relay(host="127.0.0.1", port=25, tls=Tls.NONE, ehlo_name="client.example")
ALL = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000000")
STEPWISE = ("8BITMIME",)
EMAIL = Envelope(
    email_id="1", mail_from="a@example.org", rcpt_to=("b@example.com",), data=b"Subject: x\r\n\r\nHi\r\n", attempt=1
)
TWO = replace(EMAIL, rcpt_to=("b@example.com", "c@example.com"))
PIPELINED = b"MAIL FROM:<a@example.org> SIZE=18\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
GO = b"250 ok\r\n250 ok\r\n354 go\r\n"


def ehlo_reply(*features: str) -> bytes:
    words = ["relay.example", *features]
    return "".join(f"250{' ' if i == len(words) else '-'}{word}\r\n" for i, word in enumerate(words, 1)).encode()


def ready(*features: str, relay: Relay = RELAY) -> Dialogue:
    """A dialogue that has been let in."""
    dialogue = Dialogue(relay)
    dialogue.connected()
    assert dialogue.receive(b"220 relay.example\r\n") == b"EHLO client.example\r\n"
    dialogue.receive(ehlo_reply(*features))
    assert dialogue.is_open
    return dialogue


def parked(*features: str, envelope: Envelope = EMAIL) -> Dialogue:
    """A dialogue that waits for the fence."""
    dialogue = ready(*(features or ALL))
    dialogue.begin(envelope)
    dialogue.receive(b"250 ok\r\n" * (1 + len(envelope.rcpt_to)) + b"354 go\r\n")
    assert dialogue.awaits_dot
    return dialogue


def dotted(envelope: Envelope = EMAIL) -> Dialogue:
    """A dialogue that waits for the reply to the final dot."""
    dialogue = parked(envelope=envelope)
    assert dialogue.transaction is not None
    assert dialogue.transaction.write_dot() == b".\r\n"
    return dialogue


def outcomes(dialogue: Dialogue) -> tuple[Outcome, ...]:
    transaction = dialogue.finish()
    assert transaction.is_over
    return transaction.outcomes


def verdicts(dialogue: Dialogue) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes(dialogue)]


# -- the good way ------------------------------------------------------------------------------------------------------


def test_pipelined_email_goes_out_in_one_write_and_waits_before_the_dot() -> None:
    dialogue = ready(*ALL)
    assert dialogue.begin(EMAIL) == PIPELINED
    assert dialogue.receive(GO) == b"Subject: x\r\n\r\nHi\r\n"
    assert dialogue.awaits_dot


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
    assert dialogue.receive(b"354 go\r\n") == EMAIL.data


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
    assert written == EMAIL.data


def test_multi_line_replies_count_as_one() -> None:
    dialogue = ready(*ALL)
    dialogue.begin(EMAIL)
    assert dialogue.receive(b"250-first\r\n250 second\r\n250 ok\r\n354-go\r\n354 on\r\n") == EMAIL.data


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
    assert dialogue.receive(GO) == written


@given(st.lists(st.sampled_from([b".", b"..", b"a", b"", b".a", b"\r\n"]), max_size=12))
def test_no_body_can_contain_the_end_of_data(parts: list[bytes]) -> None:
    dialogue = ready(*ALL)
    dialogue.begin(replace(EMAIL, data=b"\r\n".join(parts)))
    body = dialogue.receive(GO)
    assert b"\r\n.\r\n" not in b"\r\n" + body
    assert body.endswith(b"\r\n")


@pytest.mark.parametrize("data", [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"a\r\n.\n", b"a\r\n.\r", b"\n.\r\n"])
def test_message_with_bare_line_ends_never_reaches_the_wire(data: bytes) -> None:
    dialogue = ready(*ALL)
    assert dialogue.begin(replace(EMAIL, data=data)) == b""
    assert verdicts(dialogue) == [Verdict.REJECTED]
    assert not dialogue.broken


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


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"451 4.3.0 later", Verdict.TRANSIENT),
        (b"550 5.7.1 no", Verdict.REJECTED),
        (b"530 5.7.0 log in", Verdict.ROUTE),
        (b"535 5.7.8 bad", Verdict.ROUTE),
        (b"538 5.7.11 encrypt", Verdict.ROUTE),
    ],
)
@pytest.mark.parametrize("features", [ALL, STEPWISE])
def test_refused_sender(reply: bytes, verdict: Verdict, features: tuple[str, ...]) -> None:
    dialogue = ready(*features)
    dialogue.begin(TWO)
    rest = b"\r\n503 5.5.1 MAIL first" * 3 if features is ALL else b""
    assert dialogue.receive(reply + rest + b"\r\n") == b""
    assert verdicts(dialogue) == [verdict, verdict]
    assert not dialogue.broken


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"450 4.2.0 later", Verdict.TRANSIENT),
        (b"452 4.5.3 too many recipients", Verdict.TRANSIENT),
        (b"550 5.1.1 unknown", Verdict.PERMANENT),
        (b"550 5.7.1 relaying denied", Verdict.PERMANENT),
        (b"530 5.7.0 log in", Verdict.ROUTE),
    ],
)
def test_refused_recipient_does_not_harm_the_other(reply: bytes, verdict: Verdict) -> None:
    dialogue = ready(*ALL)
    dialogue.begin(TWO)
    assert dialogue.receive(b"250 ok\r\n" + reply + b"\r\n250 ok\r\n354 go\r\n") == EMAIL.data
    assert dialogue.transaction is not None
    dialogue.transaction.write_dot()
    dialogue.receive(b"250 ok\r\n")
    assert verdicts(dialogue) == [verdict, Verdict.ACCEPTED]


def test_all_recipients_refused_in_a_pipeline_needs_a_reset() -> None:
    dialogue = ready(*ALL)
    dialogue.begin(TWO)
    assert dialogue.receive(b"250 ok\r\n550 no\r\n450 later\r\n554 no valid recipients\r\n") == b"RSET\r\n"
    dialogue.receive(b"250 ok\r\n")
    assert verdicts(dialogue) == [Verdict.PERMANENT, Verdict.TRANSIENT]
    assert not dialogue.broken


def test_all_recipients_refused_step_by_step_never_says_data() -> None:
    dialogue = ready(*STEPWISE)
    dialogue.begin(EMAIL)
    dialogue.receive(b"250 ok\r\n")
    assert dialogue.receive(b"550 no\r\n") == b"RSET\r\n"


def test_354_with_all_recipients_refused_is_ended_by_a_lone_dot_that_counts_for_nobody() -> None:
    dialogue = ready(*ALL)
    dialogue.begin(EMAIL)
    assert dialogue.receive(b"250 ok\r\n550 no\r\n354 go\r\n") == b".\r\n"
    assert not dialogue.awaits_dot
    dialogue.receive(b"250 taken\r\n")
    assert verdicts(dialogue) == [Verdict.PERMANENT]
    assert not dialogue.broken


def test_354_with_the_sender_refused_is_ended_by_a_lone_dot() -> None:
    dialogue = ready(*ALL)
    dialogue.begin(EMAIL)
    assert dialogue.receive(b"451 later\r\n250 ok\r\n354 go\r\n") == b".\r\n"
    dialogue.receive(b"554 nothing\r\n")
    assert verdicts(dialogue) == [Verdict.TRANSIENT]


@pytest.mark.parametrize(("reply", "verdict"), [(b"451", Verdict.TRANSIENT), (b"554 5.6.0 no", Verdict.REJECTED)])
def test_refused_data_spares_recipients_refused_before(reply: bytes, verdict: Verdict) -> None:
    dialogue = ready(*ALL)
    dialogue.begin(TWO)
    assert dialogue.receive(b"250 ok\r\n550 no\r\n250 ok\r\n" + reply + b"\r\n") == b"RSET\r\n"
    dialogue.receive(b"250 ok\r\n")
    assert verdicts(dialogue) == [Verdict.PERMANENT, verdict]


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"250 ok", Verdict.ACCEPTED),
        (b"451 4.3.0 later", Verdict.TRANSIENT),
        (b"554 5.6.0 spam", Verdict.REJECTED),
        (b"530 5.7.0 odd", Verdict.REJECTED),
        (b"354 again", Verdict.UNCERTAIN),
    ],
)
def test_reply_to_the_dot(reply: bytes, verdict: Verdict) -> None:
    dialogue = dotted()
    dialogue.receive(reply + b"\r\n")
    assert verdicts(dialogue) == [verdict]


def test_failed_reset_only_costs_the_connection() -> None:
    dialogue = ready(*STEPWISE)
    dialogue.begin(EMAIL)
    dialogue.receive(b"250 ok\r\n")
    dialogue.receive(b"550 no\r\n")
    dialogue.receive(b"500 what\r\n")
    assert verdicts(dialogue) == [Verdict.PERMANENT]
    assert dialogue.broken


# -- trouble -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [b"", b"250 ok\r\n", b"250 ok\r\n250 ok\r\n", GO])
def test_421_before_the_dot_is_transient_and_ends_the_connection(before: bytes) -> None:
    dialogue = ready(*ALL)
    dialogue.begin(EMAIL)
    dialogue.receive(before + b"421 4.3.2 shutting down\r\n")
    assert dialogue.broken
    (outcome,) = outcomes(dialogue)
    assert outcome.verdict is Verdict.TRANSIENT
    assert outcome.reply == Reply(code=421, enhanced="4.3.2", text="shutting down")


def test_421_to_the_dot_is_a_refusal_and_ends_the_connection() -> None:
    dialogue = dotted()
    dialogue.receive(b"421 4.3.0 full\r\n")
    assert dialogue.broken
    assert verdicts(dialogue) == [Verdict.TRANSIENT]


@pytest.mark.parametrize("garbage", [b"hello\r\n", b"2500 ok\r\n", b"999 ok\r\n", b"250-a\r\n251 b\r\n", b"x" * 3000])
@pytest.mark.parametrize("before", [b"", b"250 ok\r\n", b"250 ok\r\n250 ok\r\n"])
def test_garbage_before_the_dot_is_transient(garbage: bytes, before: bytes) -> None:
    dialogue = ready(*ALL)
    dialogue.begin(EMAIL)
    dialogue.receive(before + garbage)
    assert dialogue.broken
    assert verdicts(dialogue) == [Verdict.TRANSIENT]


@pytest.mark.parametrize("garbage", [b"hello\r\n", b"\xff\xfe\r\n", b"25\r\n", b"250-a\r\n550 b\r\n", b"x" * 3000])
def test_garbage_after_the_dot_is_uncertain(garbage: bytes) -> None:
    dialogue = dotted()
    dialogue.receive(garbage)
    assert dialogue.broken
    assert verdicts(dialogue) == [Verdict.UNCERTAIN]


@pytest.mark.parametrize("reply", [b"354 go", b"334 what"])
def test_code_that_makes_no_sense_is_garbage(reply: bytes) -> None:
    dialogue = ready(*ALL)
    dialogue.begin(EMAIL)
    dialogue.receive(reply + b"\r\n")
    assert dialogue.broken
    assert verdicts(dialogue) == [Verdict.TRANSIENT]


def test_data_answered_with_250_is_garbage() -> None:
    dialogue = ready(*ALL)
    dialogue.begin(EMAIL)
    assert dialogue.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n") == b""
    assert dialogue.broken
    assert verdicts(dialogue) == [Verdict.TRANSIENT]


def test_reply_while_the_fence_is_asked_forbids_the_dot() -> None:
    dialogue = parked()
    dialogue.receive(b"250 thank you already\r\n")
    assert not dialogue.awaits_dot
    assert dialogue.broken
    assert verdicts(dialogue) == [Verdict.TRANSIENT]


@pytest.mark.parametrize("problem", ["the relay closed the connection", "no answer"])
def test_lost_link_before_the_dot_is_transient_after_it_uncertain(problem: str) -> None:
    for dialogue, verdict in ((parked(), Verdict.TRANSIENT), (dotted(), Verdict.UNCERTAIN)):
        dialogue.lose(problem)
        assert dialogue.broken
        (outcome,) = outcomes(dialogue)
        assert outcome.verdict is verdict
        assert problem in outcome.message


def test_lost_link_keeps_recipients_that_were_refused_before() -> None:
    dialogue = ready(*ALL)
    dialogue.begin(TWO)
    dialogue.receive(b"250 ok\r\n550 5.1.1 unknown\r\n")
    dialogue.lose("the relay closed the connection", closed=True)
    assert verdicts(dialogue) == [Verdict.PERMANENT, Verdict.TRANSIENT]


@pytest.mark.parametrize(("before", "unheard"), [(b"", True), (b"250 ok\r\n", False), (b"451 later\r\n", False)])
def test_email_counts_as_unheard_until_the_first_reply(before: bytes, unheard: bool) -> None:
    for end in ("close", "421"):
        dialogue = ready(*ALL)
        dialogue.begin(EMAIL)
        dialogue.receive(before)
        if end == "close":
            dialogue.lose("closed", closed=True)
        else:
            dialogue.receive(b"421 bye\r\n")
        assert dialogue.finish().unheard is unheard


def test_time_out_at_mail_is_not_unheard() -> None:
    dialogue = ready(*ALL)
    dialogue.begin(EMAIL)
    dialogue.lose("no answer")
    assert not dialogue.finish().unheard


def test_released_email_needs_its_connection_closed() -> None:
    dialogue = parked()
    dialogue.release()
    assert dialogue.broken
    (outcome,) = outcomes(dialogue)
    assert (outcome.verdict, outcome.phase) == (Verdict.RELEASED, Phase.BODY)


def test_released_email_keeps_recipients_that_were_refused_before() -> None:
    dialogue = ready(*ALL)
    dialogue.begin(TWO)
    dialogue.receive(b"250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
    dialogue.release()
    assert verdicts(dialogue) == [Verdict.PERMANENT, Verdict.RELEASED]


def test_surplus_reply_after_the_dot_does_not_undo_acceptance_but_ends_the_connection() -> None:
    dialogue = dotted()
    dialogue.receive(b"250 ok\r\n421 bye\r\n")
    assert verdicts(dialogue) == [Verdict.ACCEPTED]
    assert dialogue.broken


def test_idle_relay_that_speaks_is_not_used_again() -> None:
    dialogue = ready(*ALL)
    assert dialogue.receive(b"421 idle too long\r\n") == b""
    assert dialogue.broken


@given(st.binary(max_size=200))
def test_whatever_the_relay_says_every_recipient_has_an_outcome_in_the_end(noise: bytes) -> None:
    for dialogue in (ready(*ALL), dotted(TWO)):
        if dialogue.transaction is None:
            dialogue.begin(TWO)
        dialogue.receive(noise)
        if dialogue.transaction is not None and not dialogue.transaction.is_over:
            dialogue.lose("the relay closed the connection", closed=True)
        got = outcomes(dialogue)
        assert [outcome.recipient for outcome in got] == list(TWO.rcpt_to)
        assert all(outcome.message.isprintable() for outcome in got)
