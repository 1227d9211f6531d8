"""A relay that allows fewer connections than there are emails, and several sends that share those."""

import threading
from dataclasses import replace

import pytest

from postroom.mail.outcome import Verdict
from postroom.transport.smtp.pool import GROW_AGAIN_SECONDS
from postroom.transport.smtp.route import FULL_SECONDS
from postroom.transport.smtp.send import LONGEST_QUEUE_SECONDS
from tests.sending import PATIENT, Caller, Clock, OpenSmtp, envelope, send, verdicts
from tests.smtpd import Accept, Cut, Hold, Offer, Say, Silence, Smtpd

OK = [Verdict.ACCEPTED]


@pytest.mark.parametrize("allowed", [1, 2])
def test_relay_that_allows_few_connections_gets_everything_over_those(opened: OpenSmtp, allowed: int) -> None:
    with Smtpd(Offer(connections=allowed)) as server:
        transport = opened(server.url, connections=10)
        send(transport, envelope())
        transport.close()  # the relay is known to be good: several connections are opened at a time
        server.wait_until(lambda: server.open_sessions == 0, "end of the first connection")
        server.script.on("ehlo", Hold(threading.Event(), seconds=0.3), Say("250 smtpd.example"), times=allowed)
        hand_offs = send(transport, *[envelope() for _ in range(60)])
        assert all(verdicts(hand_off) == OK for hand_off in hand_offs)
        assert transport.resting() == 0
        assert server.violations == []


def test_send_that_gets_no_connection_leaves_emails_to_another_that_has_one(opened: OpenSmtp, clock: Clock) -> None:
    gate = Hold(threading.Event())
    with Smtpd(Offer(connections=1)) as server:
        server.script.on("dot", gate, Accept(), Say("250 2.0.0 Ok"), times=1)
        transport = opened(server.url, connections=4, timeouts=replace(PATIENT, dot=1000))
        first = Caller(transport, envelope())
        thread = threading.Thread(target=first.run)
        thread.start()
        assert gate.reached.wait(10)
        for _ in range(4):
            assert verdicts(send(transport, envelope())[0]) == [Verdict.RELEASED]
            late = Caller(transport, envelope())
            assert not late.run()
            assert not late.offered, "it took emails that it can do nothing with"
            assert not transport.is_down
            clock.ahead += FULL_SECONDS
        gate.until.set()
        thread.join(10)
        assert verdicts(first.hand_offs[0]) == OK
        assert verdicts(send(transport, envelope())[0]) == OK


def test_email_that_waits_long_for_one_of_few_connections_is_handed_back(opened: OpenSmtp, clock: Clock) -> None:
    gate = Hold(threading.Event())
    with Smtpd(Offer(connections=1)) as server:
        server.script.on("dot", gate, Accept(), Say("250 2.0.0 Ok"), times=1)
        first, *late = emails = [envelope() for _ in range(6)]
        caller = Caller(opened(server.url, connections=6), *emails)

        def on_yield() -> None:
            if gate.until.is_set():
                return
            if late[0].email_id in {hand_off.email_id for hand_off in caller.hand_offs}:
                caller.waiting.extend(envelope() for _ in range(3))
                gate.until.set()
            elif gate.reached.is_set():
                clock.ahead += LONGEST_QUEUE_SECONDS

        caller.on_yield = on_yield
        ended = caller.run()
        assert verdicts(ended[first.email_id]) == OK
        assert {tuple(verdicts(ended[email.email_id])) for email in late} == {(Verdict.RELEASED,)}
        assert max(caller.offered[1:]) == 1, "it took more than it had connections for"


def test_send_that_is_kept_waiting_for_a_greeting_leaves_emails_to_another(opened: OpenSmtp, clock: Clock) -> None:
    gate = Hold(threading.Event())
    with Smtpd() as server:
        server.script.on("dot", gate, Accept(), Say("250 2.0.0 Ok"), times=1)
        transport = opened(server.url, connections=4)
        first, second = Caller(transport, envelope()), Caller(transport, envelope(), envelope())
        thread = threading.Thread(target=first.run)
        thread.start()
        assert gate.reached.wait(10)
        server.script.on("connect", Silence())
        second.on_yield = lambda: setattr(clock, "ahead", LONGEST_QUEUE_SECONDS)
        assert {tuple(verdicts(hand_off)) for hand_off in second.run().values()} == {(Verdict.RELEASED,)}
        assert len(second.hand_offs) == 2
        gate.until.set()
        thread.join(10)
        assert verdicts(first.hand_offs[0]) == OK


def test_email_that_waits_for_a_new_connection_does_not_keep_others_from_those_there_are(
    opened: OpenSmtp, clock: Clock
) -> None:
    with Smtpd(Offer(connections=2)) as server:
        transport = opened(server.url, connections=4)
        server.script.on("mail", Say("421 4.4.2 enough"), Cut(), only="<moved@", times=1)
        others, moved = [envelope() for _ in range(30)], envelope(mail_from="moved@example.org")
        caller = Caller(transport, *others[:10], moved, *others[10:])

        def on_yield() -> None:
            if len(caller.hand_offs) == len(others):
                clock.ahead += GROW_AGAIN_SECONDS

        caller.on_yield = on_yield
        assert {tuple(verdicts(hand_off)) for hand_off in caller.run().values()} == {tuple(OK)}
        assert caller.hand_offs[-1].email_id == moved.email_id
