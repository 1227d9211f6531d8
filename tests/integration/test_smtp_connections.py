"""How connections to the relay are opened, kept, reused and given up."""

import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from postroom.mail.outcome import Phase, Verdict
from tests.sending import PATIENT, QUICK, Caller, Clock, OpenSmtp, envelope, send, subject, verdicts
from tests.smtpd import Accept, Cut, Hold, Say, Silence, Smtpd

OK = [Verdict.ACCEPTED]


# -- keeping -----------------------------------------------------------------------------------------------------------


def test_connection_is_kept_for_the_next_send(server: Smtpd, opened: OpenSmtp) -> None:
    transport = opened(server.url, connections=1)
    for _ in range(3):
        assert verdicts(send(transport, envelope())[0]) == OK
    assert server.sessions == 1
    assert not server.has_heard("RSET")


def test_connection_says_goodbye_after_a_hundred_emails(server: Smtpd, opened: OpenSmtp) -> None:
    emails = [envelope() for _ in range(250)]
    assert all(verdicts(hand_off) == OK for hand_off in send(opened(server.url, connections=1), *emails))
    assert server.sessions == 3
    assert [line for _, line in server.commands].count("QUIT") == 2


def test_connection_that_was_idle_for_a_minute_is_not_used_again(server: Smtpd, opened: OpenSmtp, clock: Clock) -> None:
    transport = opened(server.url, connections=1)
    send(transport, envelope())
    clock.ahead += 61
    assert verdicts(send(transport, envelope())[0]) == OK
    server.wait_until(lambda: (1, "QUIT") in server.commands, "goodbye on the idle connection")
    assert server.sessions == 2


def test_connection_that_was_idle_for_a_minute_is_let_go_though_nothing_is_sent(
    server: Smtpd, opened: OpenSmtp, clock: Clock
) -> None:
    transport = opened(server.url, connections=1)
    send(transport, envelope())
    clock.ahead += 61
    send(transport)
    server.wait_until(lambda: server.open_sessions == 0, "end of the idle connection")
    assert server.has_heard("QUIT")


def test_close_says_goodbye_on_idle_connections(server: Smtpd, opened: OpenSmtp) -> None:
    transport = opened(server.url, connections=1)
    send(transport, envelope())
    transport.close()
    server.wait_until(lambda: server.has_heard("QUIT"), "goodbye")


def test_transport_can_be_used_after_close(server: Smtpd, opened: OpenSmtp) -> None:
    transport = opened(server.url, connections=1)
    transport.close()
    assert verdicts(send(transport, envelope())[0]) == OK


def test_connections_are_opened_as_far_as_emails_wait(server: Smtpd, opened: OpenSmtp) -> None:
    gate = Hold(threading.Event())
    server.script.on("dot", gate, Accept(), Say("250 2.0.0 Ok"))
    caller = Caller(opened(server.url, connections=20), *[envelope() for _ in range(7)])
    caller.on_yield = lambda: gate.until.set() if server.sessions == 7 else None
    assert all(verdicts(hand_off) == OK for hand_off in caller.run().values())
    assert server.sessions == 7


def test_forked_child_leaves_the_parents_connection_alone(server: Smtpd) -> None:
    program = f"""
import os
from postroom.transport.smtp import SmtpTransport
from tests.sending import envelope, relay_at, send
transport = SmtpTransport(relay_at("{server.url}"))
def deliver(who):
    hand_off, = send(transport, envelope(who + "@example.com"))
    assert hand_off.outcomes[0].verdict == "accepted", hand_off
deliver("before")
child = os.fork()
if not child:
    deliver("child")
    transport.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
deliver("after")
transport.close()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
    sessions = {message.rcpt_to[0].partition("@")[0]: message.session for message in server.wait_for(3)}
    assert sessions == {"before": 1, "child": 2, "after": 1}


# -- reused connections that turn out closed ---------------------------------------------------------------------------


def test_idle_connection_that_the_relay_closed_is_replaced(server: Smtpd, opened: OpenSmtp) -> None:
    transport = opened(server.url, connections=1)
    send(transport, envelope())
    server.hang_up()
    server.wait_until(lambda: server.open_sessions == 0, "end of the idle connection")
    assert verdicts(send(transport, envelope())[0]) == OK


def test_idle_connection_on_which_the_relay_spoke_is_not_used_again(server: Smtpd, opened: OpenSmtp) -> None:
    speak, spoken = Hold(threading.Event()), Hold(threading.Event())
    server.script.on("dot", Accept(), Say("250 2.0.0 Ok"), speak, Say("250 2.1.0 Ok"), spoken, times=1)
    transport = opened(server.url, connections=1)
    send(transport, envelope())
    speak.until.set()
    assert spoken.reached.wait(timeout=10)
    assert verdicts(send(transport, envelope())[0]) == OK
    assert server.sessions == 2
    spoken.until.set()


@pytest.mark.parametrize("actions", [(Cut(),), (Cut(reset=True),), (Say("421 4.4.2 idle"), Cut())])
def test_reused_connection_that_ends_at_mail_is_replaced_free_of_charge(
    server: Smtpd, opened: OpenSmtp, actions: tuple[Cut | Say, ...]
) -> None:
    transport = opened(server.url, connections=1)
    send(transport, envelope())
    server.script.on("mail", *actions, times=1)
    email = envelope()
    caller = Caller(transport, email)
    assert verdicts(caller.run()[email.email_id]) == OK
    assert caller.fenced == {email.email_id: 1}
    assert [message.session for message in server.received] == [1, 2]


def test_connection_is_replaced_only_once_for_an_email(server: Smtpd, opened: OpenSmtp) -> None:
    transport = opened(server.url, connections=1)
    send(transport, envelope())
    server.script.on("mail", Say("421 4.4.2 idle"), Cut())
    assert verdicts(send(transport, envelope())[0]) == [Verdict.TRANSIENT]
    assert server.sessions == 2


def test_relay_that_closes_after_each_email_gets_them_all(server: Smtpd, opened: OpenSmtp) -> None:
    server.script.on("dot", Accept(), Say("250 2.0.0 Ok"), Cut())
    emails = [envelope() for _ in range(30)]
    assert all(verdicts(hand_off) == OK for hand_off in send(opened(server.url, connections=3), *emails))
    assert sorted(subject(message.data) for message in server.received) == sorted(e.email_id for e in emails)


# -- ping --------------------------------------------------------------------------------------------------------------


def test_ping_comes_and_goes_politely(server: Smtpd, opened: OpenSmtp) -> None:
    opened(server.url, connections=1).ping()
    server.wait_until(lambda: server.has_heard("QUIT"), "goodbye")
    assert [line.partition(" ")[0] for _, line in server.commands] == ["EHLO", "QUIT"]


def test_ping_says_what_is_wrong(server: Smtpd, opened: OpenSmtp) -> None:
    transport = opened(server.url, connections=1)
    server.script.on("connect", Say("554 5.7.1 You are on a list"), Cut())
    with pytest.raises(ConnectionError, match=r"^smtp://127.0.0.1:\d+ cannot be used: .* 554 5.7.1 You are on a list$"):
        transport.ping()
    server.stop()
    with pytest.raises(ConnectionError, match="refused"):
        transport.ping()
    assert transport.resting() == 0


def test_ping_gives_up_in_time(server: Smtpd, opened: OpenSmtp) -> None:
    server.script.on("connect", Silence())
    transport = opened(server.url, timeouts=replace(PATIENT, connect=0.3, greeting=0.3))
    with pytest.raises(ConnectionError, match="no answer from the relay at GREETING"):
        transport.ping()


def test_name_with_several_addresses_is_down_only_when_all_refuse(server: Smtpd, opened: OpenSmtp) -> None:
    transport = opened(f"smtp://localhost:{server.port}")  # 127.0.0.1, then ::1
    assert verdicts(send(transport, envelope())[0]) == OK
    transport.ping()
    server.stop()
    (hand_off,) = send(transport, envelope())
    assert (hand_off.outcomes[0].verdict, hand_off.outcomes[0].phase) == (Verdict.ROUTE, Phase.CONNECT)


@pytest.mark.parametrize("actions", [(Say("421 4.3.2 busy"), Cut()), (Cut(),), (Silence(),)])
def test_address_that_lets_nobody_in_does_not_hide_another_that_does(
    server: Smtpd, opened: OpenSmtp, monkeypatch: pytest.MonkeyPatch, actions: tuple[Say | Cut | Silence, ...]
) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, server.port)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    server.script.on("connect", *actions)
    with Smtpd(host="127.0.0.2", port=server.port) as other:
        transport = opened(f"smtp://relay.example:{server.port}?tls=none", timeouts=QUICK)
        assert verdicts(send(transport, envelope())[0]) == OK
        assert len(other.received) == 1
        assert transport.resting() == 0


def test_relay_is_told_by_what_it_said_not_by_an_address_that_nobody_answers(server: Smtpd, opened: OpenSmtp) -> None:
    server.script.on("connect", Say("554 5.7.1 You are on a list"), Cut())
    transport = opened(f"smtp://localhost:{server.port}")
    assert "on a list" in send(transport, envelope())[0].outcomes[0].message
    with pytest.raises(ConnectionError, match="on a list"):
        transport.ping()


def test_name_is_looked_up_without_holding_anything_up(server: Smtpd, opened: OpenSmtp) -> None:
    transport = opened(f"smtp://127.1:{server.port}?tls=none")
    transport.ping()  # the resolver turns 127.1 into 127.0.0.1, without a name server
    assert verdicts(send(transport, envelope())[0]) == OK
