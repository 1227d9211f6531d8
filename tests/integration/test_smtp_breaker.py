"""How the circuit breaker guards a relay that is down or refuses us, and lets the emails pass when it is back."""

import logging
import threading

import pytest

from postroom.mail.outcome import Verdict
from postroom.transport.smtp.route import TRUSTED_SECONDS
from tests.sending import Caller, Clock, OpenSmtp, envelope, in_threads, send, verdicts
from tests.smtpd import Accept, Cut, Hold, Say, Silence, Smtpd

OK = [Verdict.ACCEPTED]
ROUTE = [Verdict.ROUTE]


def test_relay_that_is_down_is_left_alone_and_probed_when_the_rest_is_over(
    server: Smtpd, opened: OpenSmtp, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="postroom")
    transport = opened(server.url, connections=4)
    server.stop()
    caller = Caller(transport, *[envelope() for _ in range(100)])
    assert {tuple(verdicts(hand_off)) for hand_off in caller.run().values()} == {tuple(ROUTE)}
    assert len(caller.hand_offs) == 3 * transport.capacity
    assert transport.resting() == pytest.approx(5, abs=1)

    server.start()
    assert verdicts(send(transport, envelope())[0]) == ROUTE
    assert server.sessions == 0, "it connected although the relay was to be left alone"

    clock.ahead += 5
    assert transport.resting() == 0
    assert transport.is_down
    assert all(verdicts(hand_off) == OK for hand_off in send(transport, *[envelope() for _ in range(4)]))
    assert not transport.is_down
    assert [record.message for record in caplog.records] == ["relay down", "relay up"]
    assert "example.com" not in caplog.text


def test_only_one_connection_probes_however_many_threads_send(server: Smtpd, opened: OpenSmtp, clock: Clock) -> None:
    transport = opened(server.url, connections=4)
    server.stop()
    send(transport, envelope())
    send(transport, envelope())
    send(transport, envelope())
    server.start()
    server.script.on("connect", Say("421 4.3.2 not yet"), Cut())
    clock.ahead += 6
    callers = [Caller(transport, *[envelope() for _ in range(4)]) for _ in range(5)]
    in_threads([caller.run for caller in callers])
    assert {tuple(verdicts(h)) for caller in callers for h in caller.hand_offs} == {tuple(ROUTE)}
    assert server.sessions == 1
    assert transport.resting() == pytest.approx(10, abs=1)


def test_probe_that_is_abandoned_leaves_the_way_free_for_another(server: Smtpd, opened: OpenSmtp, clock: Clock) -> None:
    transport = opened(server.url, connections=1)
    server.stop()
    for _ in range(3):
        send(transport, envelope())
    server.start()
    server.script.on("connect", Silence(), times=1)
    clock.ahead += 6
    probing = transport.send(Caller(transport, envelope()).take, fence=lambda ids: ids)
    assert next(probing) == []
    probing.close()
    assert verdicts(send(transport, envelope())[0]) == OK


def test_emails_wait_for_the_probe_of_another_thread(server: Smtpd, opened: OpenSmtp, clock: Clock) -> None:
    transport = opened(server.url, connections=1)
    server.stop()
    for _ in range(3):
        send(transport, envelope())
    server.start()
    gate = Hold(threading.Event())
    server.script.on("connect", gate, Say("220 back again"), times=1)
    clock.ahead += 6
    first, second = Caller(transport, envelope()), Caller(transport, envelope())
    second.on_yield = lambda: gate.until.set() if gate.reached.is_set() else None
    in_threads([first.run, second.run])
    assert [verdicts(h) for h in (*first.hand_offs, *second.hand_offs)] == [OK, OK]


def test_relay_that_wants_authentication_at_mail_is_left_alone_after_three(server: Smtpd, opened: OpenSmtp) -> None:
    server.script.on("mail", Say("530 5.7.0 Authentication required"))
    transport = opened(server.url, connections=1)
    caller = Caller(transport, *[envelope() for _ in range(10)])
    assert {tuple(verdicts(hand_off)) for hand_off in caller.run().values()} == {tuple(ROUTE)}
    assert len(caller.hand_offs) == 3
    assert transport.resting() > 0


def test_emails_under_way_end_normally_when_the_breaker_opens(server: Smtpd, opened: OpenSmtp) -> None:
    gate = Hold(threading.Event())
    server.script.on("dot", gate, Accept(), Say("250 2.0.0 Ok"))
    server.script.on("mail", Say("530 5.7.0 Authentication required"), only="<other@")
    good, bad = envelope(), [envelope(mail_from="other@example.org") for _ in range(6)]
    transport = opened(server.url, connections=2)
    caller = Caller(transport, good, *bad)
    caller.on_yield = lambda: gate.until.set() if transport.resting() else None
    ended = caller.run()
    assert verdicts(ended[good.email_id]) == OK
    assert len(caller.waiting) == 3


def test_relay_that_takes_mail_but_wants_a_login_for_one_recipient_or_sender_is_not_down(
    server: Smtpd, opened: OpenSmtp, clock: Clock
) -> None:
    server.script.on("rcpt", Say("530 5.7.1 Log in to relay there"), only="<far@")
    transport = opened(server.url, connections=1)
    far = [envelope("far@example.com") for _ in range(5)]
    near = [envelope() for _ in range(6)]
    ended = send(transport, near[0], *far, *near[1:])
    assert [verdicts(hand_off) for hand_off in ended] == [OK, *[[Verdict.TRANSIENT]] * 5, *[OK] * 5]
    assert transport.resting() == 0

    server.script.on("mail", Say("530 5.7.1 Log in to send as such"), only="<other@")
    others = [envelope(mail_from="other@example.org") for _ in range(5)]
    assert {tuple(verdicts(hand_off)) for hand_off in send(transport, *others)} == {(Verdict.TRANSIENT,)}
    assert transport.resting() == 0

    transport.close()  # a new connection, which has not taken any yet, is to the same relay
    assert verdicts(send(transport, far[0])[0]) == [Verdict.TRANSIENT]

    transport.close()
    clock.ahead += TRUSTED_SECONDS
    assert verdicts(send(transport, far[1])[0]) == ROUTE
