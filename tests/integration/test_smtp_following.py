"""Emails that begin in one piece with the final dot of the one before them, on a real connection."""

import threading

import pytest

from postroom.mail.outcome import Verdict
from tests.sending import Caller, OpenSmtp, envelope, send, verdicts
from tests.smtpd import Accept, Cut, Hold, Offer, Say, Smtpd

OK = [Verdict.ACCEPTED]
EMAILS = 12


@pytest.mark.parametrize("pipelining", [True, False])
def test_next_email_follows_at_once_where_the_relay_takes_pipelines(opened: OpenSmtp, pipelining: bool) -> None:
    with Smtpd(Offer(pipelining=pipelining)) as server:
        emails = [envelope() for _ in range(EMAILS)]
        assert all(verdicts(hand_off) == OK for hand_off in send(opened(server.url, connections=1), *emails))
        assert server.violations == []
        assert server.sessions == 1
        assert server.followed == (EMAILS - 2 if pipelining else 0)  # the relay must have shown first that it is quick


def test_email_that_follows_a_slow_one_goes_to_another_connection(server: Smtpd, opened: OpenSmtp) -> None:
    slow, others = envelope("slow@example.com"), [envelope() for _ in range(6)]
    over = threading.Event()
    transport = opened(server.url, connections=2)
    send(transport, *[envelope() for _ in range(4)])
    server.script.on("dot", Hold(over), Accept(), Say("250 2.0.0 Ok"), only="slow@")
    caller = Caller(transport, others[0], slow, *others[1:])
    caller.on_yield = lambda: over.set() if len(caller.hand_offs) == len(others) else None
    assert all(verdicts(hand_off) == OK for hand_off in caller.run().values())
    assert caller.hand_offs[-1].email_id == slow.email_id
    assert len(server.received) == 4 + 1 + len(others)


@pytest.mark.parametrize("refusal", [(Say("503 5.5.1 Wait for the reply"),), (Say("421 4.7.0 Enough"), Cut())])
def test_relay_that_takes_no_email_so_early_gets_them_all_the_same(
    server: Smtpd, opened: OpenSmtp, refusal: tuple[Say | Cut, ...]
) -> None:
    server.script.on("early", *refusal)
    emails = [envelope() for _ in range(EMAILS)]
    assert all(verdicts(hand_off) == OK for hand_off in send(opened(server.url, connections=2), *emails))
    assert len(server.received) == EMAILS
    assert 1 <= server.followed <= 2  # each connection once, then no more


def test_relay_that_dies_at_the_dot_casts_no_doubt_on_the_email_that_follows(server: Smtpd, opened: OpenSmtp) -> None:
    first, second, doubtful, following = (envelope(f"{name}@example.com") for name in ("a", "b", "doubtful", "c"))
    server.script.on("dot", Accept(), Cut(), only="doubtful@")
    hand_offs = send(opened(server.url, connections=1), first, second, doubtful, following)
    assert [verdicts(hand_off) for hand_off in hand_offs] == [OK, OK, [Verdict.UNCERTAIN], OK]
    assert server.followed == 2
    assert len(server.received) == 4


def test_relay_that_dies_over_the_first_email_that_follows_is_not_tried_so_again(
    server: Smtpd, opened: OpenSmtp
) -> None:
    transport = opened(server.url, connections=1)
    server.script.on("dot", Accept(), Cut(), only="doubtful@")
    first, doubtful, following = envelope(), envelope("doubtful@example.com"), envelope()
    hand_offs = send(transport, first, doubtful, following)
    assert [verdicts(hand_off) for hand_off in hand_offs] == [OK, [Verdict.UNCERTAIN], OK]
    assert all(verdicts(hand_off) == OK for hand_off in send(transport, *[envelope() for _ in range(EMAILS)]))
    assert server.followed == 1


def test_one_email_alone_follows_until_the_relay_has_taken_it_well(server: Smtpd, opened: OpenSmtp) -> None:
    over = threading.Event()
    transport = opened(server.url, connections=3)
    server.script.on("early", Hold(over), Say("250 2.1.0 Ok"), times=1)
    caller = Caller(transport, *[envelope() for _ in range(EMAILS)])
    seen: list[int] = []

    def look() -> None:
        seen.append(server.followed)
        if len(caller.hand_offs) >= EMAILS - 1:
            over.set()

    caller.on_yield = look
    assert all(verdicts(hand_off) == OK for hand_off in caller.run().values())
    assert max(seen[:-1]) <= 1
