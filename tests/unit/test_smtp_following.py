"""An email that begins in one piece with the final dot of the one before, byte by byte, without sockets."""

import pytest
from msgspec.structs import replace

from postroom.mail.outcome import Verdict
from postroom.transport.smtp.dialogue import Dialogue
from postroom.transport.smtp.transaction import Transaction
from tests.dialogue import ALL, EMAIL, GO, PIPELINED, STEPWISE, dot, dotted, ready, verdicts

NEXT = replace(EMAIL, email_id="2")


def followed() -> Dialogue:
    """A dialogue in which the relay has been told of the next email, and waits for the reply to the dot before it."""
    dialogue = dotted()
    assert dialogue.follow(NEXT) == PIPELINED
    return dialogue


def last(dialogue: Dialogue) -> Transaction:
    """The email that followed, once the one before it is out of the way."""
    dialogue.finish()
    return dialogue.finish()


@pytest.mark.parametrize("features", [ALL, STEPWISE])
def test_only_a_relay_that_takes_pipelines_may_be_told_of_the_next_email(features: tuple[str, ...]) -> None:
    assert ready(*features).may_be_followed is (features is ALL)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"250 ok\r\n", Verdict.ACCEPTED),
        (b"451 later\r\n", Verdict.TRANSIENT),
        (b"554 no\r\n", Verdict.REJECTED),
    ],
)
def test_next_email_goes_on_whatever_became_of_the_last(reply: bytes, verdict: Verdict) -> None:
    dialogue = followed()
    assert dialogue.receive(reply + GO) == b""
    assert not dialogue.awaits_dot
    assert verdicts(dialogue) == [verdict]
    assert dialogue.awaits_dot
    assert not dialogue.broken
    assert dot(dialogue) == NEXT.data + b".\r\n"
    dialogue.receive(b"250 ok\r\n")
    assert verdicts(dialogue) == [Verdict.ACCEPTED]


def test_replies_to_the_next_email_may_come_later_and_in_pieces() -> None:
    dialogue = followed()
    dialogue.receive(b"250 ok\r\n25")
    assert verdicts(dialogue) == [Verdict.ACCEPTED]
    assert not dialogue.broken
    dialogue.receive(GO[2:])
    assert dialogue.awaits_dot


def test_large_body_of_the_next_email_goes_out_at_once() -> None:
    large = replace(NEXT, data=(b"x" * 70 + b"\r\n") * 1000)
    dialogue = dotted()
    dialogue.follow(large)
    assert dialogue.receive(b"250 ok\r\n" + GO) == large.data


def test_connection_lost_before_the_reply_leaves_doubt_about_the_last_alone() -> None:
    dialogue = followed()
    dialogue.lose("the relay closed the connection", closed=True)
    assert dialogue.broken
    first = dialogue.finish()
    assert [outcome.verdict for outcome in first.outcomes] == [Verdict.UNCERTAIN]
    assert dialogue.finish().unheard


def test_relay_too_slow_over_the_dot_has_not_heard_of_the_next_email() -> None:
    dialogue = followed()
    dialogue.lose("no answer from the relay at DOT within 600 s")
    assert last(dialogue).unheard


def test_connection_lost_after_the_reply_is_the_next_emails_own_trouble() -> None:
    dialogue = followed()
    dialogue.receive(b"250 ok\r\n250 ok\r\n")
    dialogue.lose("the relay closed the connection", closed=True)
    transaction = last(dialogue)
    assert not transaction.unheard
    assert [outcome.verdict for outcome in transaction.outcomes] == [Verdict.TRANSIENT]


@pytest.mark.parametrize("reply", [b"421 closing\r\n", b"503 wait\r\n554 no\r\n554 no\r\n", b"451 later\r\n"])
def test_relay_that_will_not_begin_so_early_is_to_be_asked_again(reply: bytes) -> None:
    dialogue = followed()
    dialogue.receive(b"250 ok\r\n" + reply)
    assert verdicts(dialogue) == [Verdict.ACCEPTED]
    assert dialogue.broken
    assert dialogue.finish().unheard


def test_farewell_in_place_of_the_reply_ends_both() -> None:
    dialogue = followed()
    dialogue.receive(b"421 closing\r\n")
    assert verdicts(dialogue) == [Verdict.TRANSIENT]
    assert dialogue.broken
    assert dialogue.finish().unheard


@pytest.mark.parametrize("replies", [b"250 ok\r\n", b"250 ok\r\n" + GO])
def test_connection_carries_no_more_once_the_next_email_was_given_up(replies: bytes) -> None:
    dialogue = followed()
    dialogue.part()
    dialogue.receive(replies)
    assert verdicts(dialogue) == [Verdict.ACCEPTED]
    assert dialogue.broken
    assert dialogue.transaction is None
