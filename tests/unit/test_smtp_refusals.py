"""What the relay refuses, breaks off or garbles, byte by byte, without sockets: which outcome follows from what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from postroom.mail.outcome import Phase, Reply, Verdict
from tests.dialogue import ALL, EMAIL, GO, STEPWISE, TWO, dot, dotted, outcomes, parked, ready, verdicts

# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"451 4.3.0 later", Verdict.TRANSIENT),
        (b"550 5.7.1 no", Verdict.REJECTED),
        (b"530 5.7.0 log in", Verdict.ROUTE),
        (b"535 5.7.8 bad", Verdict.ROUTE),
        (b"538 5.7.11 encrypt", Verdict.ROUTE),
        (b"504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname", Verdict.TRANSIENT),
        (b"504 5.5.4 BODY not implemented", Verdict.REJECTED),
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
        (b"504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname", Verdict.TRANSIENT),
        (b"504 unknown", Verdict.PERMANENT),
        (b"552 too many recipients", Verdict.TRANSIENT),
        (b"552 5.5.3 too many recipients", Verdict.TRANSIENT),
        (b"552 5.2.2 mailbox full", Verdict.PERMANENT),
        (b"552 5.2.3 too big for this mailbox", Verdict.PERMANENT),
        (b"552 5.3.4 too big", Verdict.PERMANENT),
        (b"552 5.7.0 not allowed", Verdict.PERMANENT),
        (b"530 5.7.0 log in", Verdict.TRANSIENT),
    ],
)
def test_refused_recipient_does_not_harm_the_other(reply: bytes, verdict: Verdict) -> None:
    dialogue = ready(*ALL)
    dialogue.begin(TWO)
    assert dialogue.receive(b"250 ok\r\n" + reply + b"\r\n250 ok\r\n354 go\r\n") == b""
    assert dot(dialogue) == EMAIL.data + b".\r\n"
    dialogue.receive(b"250 ok\r\n")
    assert verdicts(dialogue) == [verdict, Verdict.ACCEPTED]


@pytest.mark.parametrize("code", [b"530", b"535", b"538"])
@pytest.mark.parametrize("features", [ALL, STEPWISE])
def test_relay_that_refuses_us_at_the_recipient_is_trouble_unless_it_takes_mail(
    code: bytes, features: tuple[str, ...]
) -> None:
    for trusted, verdict in ((False, Verdict.ROUTE), (True, Verdict.TRANSIENT)):
        dialogue = ready(*features)
        dialogue.begin(EMAIL, trusted=trusted)
        dialogue.receive(b"250 ok\r\n")
        dialogue.receive(code + b" 5.7.0 log in\r\n")
        if features is ALL:
            dialogue.receive(b"554 no valid recipients\r\n")
        dialogue.receive(b"250 reset\r\n")
        assert verdicts(dialogue) == [verdict]


@pytest.mark.parametrize("features", [ALL, STEPWISE])
def test_relay_that_refuses_us_at_the_sender_is_trouble_unless_it_takes_mail(features: tuple[str, ...]) -> None:
    for trusted, verdict in ((False, Verdict.ROUTE), (True, Verdict.TRANSIENT)):
        dialogue = ready(*features)
        dialogue.begin(EMAIL, trusted=trusted)
        dialogue.receive(b"530 5.7.0 log in\r\n")
        if features is ALL:
            dialogue.receive(b"503 MAIL first\r\n503 MAIL first\r\n")
        assert verdicts(dialogue) == [verdict]


def test_relay_that_refuses_us_at_one_recipient_and_takes_the_next_is_not_down() -> None:
    for replies in (b"530 log in\r\n250 ok\r\n", b"250 ok\r\n530 log in\r\n"):
        dialogue = ready(*ALL)
        dialogue.begin(TWO)
        dialogue.receive(b"250 ok\r\n" + replies + b"354 go\r\n")
        dot(dialogue)
        dialogue.receive(b"250 ok\r\n")
        assert sorted(verdicts(dialogue)) == [Verdict.ACCEPTED, Verdict.TRANSIENT]


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


def test_354_with_the_sender_refused_is_no_reason_for_a_dot() -> None:
    dialogue = ready(*ALL)
    dialogue.begin(EMAIL)
    assert dialogue.receive(b"451 later\r\n250 ok\r\n354 go\r\n") == b""
    assert verdicts(dialogue) == [Verdict.TRANSIENT]
    assert dialogue.broken


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [(b"451", Verdict.TRANSIENT), (b"530 log in", Verdict.TRANSIENT), (b"554 5.6.0 no", Verdict.REJECTED)],
)
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
    if dialogue.receive(reply + b"\r\n"):
        dialogue.receive(b"250 reset\r\n")
    assert verdicts(dialogue) == [verdict]


@pytest.mark.parametrize("reply", [b"451 4.3.0 later\r\n", b"554 5.6.0 spam\r\n"])
def test_refusal_at_the_dot_is_followed_by_a_reset(reply: bytes) -> None:
    dialogue = dotted()
    assert dialogue.receive(reply) == b"RSET\r\n"
    dialogue.lose("the link broke")
    assert outcomes(dialogue)[0].reply is not None


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


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"552 5.3.4 too big", Verdict.REJECTED),
        (b"554 5.7.1 spam", Verdict.REJECTED),
        (b"451 4.3.0 later", Verdict.TRANSIENT),
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_refusal_in_the_middle_of_the_body_counts_by_its_code(reply: bytes, verdict: Verdict, size: int) -> None:
    dialogue = parked(envelope=replace(EMAIL, data=EMAIL.data * size))
    assert dialogue.receive(reply + b"\r\n") == b""
    assert dialogue.broken
    (outcome,) = outcomes(dialogue)
    assert (outcome.verdict, outcome.phase) == (verdict, Phase.BODY)
    assert outcome.reply is not None
    assert outcome.reply.code == int(reply[:3])


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
