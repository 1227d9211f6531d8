"""How connections to the relay are opened, kept, reused and given up, and how the circuit breaker guards them."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from postroom.mail.outcome import Phase, Verdict
from postroom.transport.relay import Relay, Timeouts
from postroom.transport.smtp import SmtpTransport
from tests.sending import Caller, envelope, in_threads, send, subject, verdicts
from tests.smtpd import Accept, Cut, Hold, Offer, Say, Silence, Smtpd

OK = [Verdict.ACCEPTED]
ROUTE = [Verdict.ROUTE]
TIMEOUTS = Timeouts(connect=10, greeting=10, command=10, body=10, dot=10)


class Clock:
    """The monotonic clock, which can be set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


Open = Callable[..., SmtpTransport]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[Smtpd]:
    with Smtpd() as running:
        yield running
    assert running.violations == []


@pytest.fixture
def opened(clock: Clock) -> Iterator[Open]:
    """Makes transports to a server and closes them in the end."""
    with ExitStack() as stack:

        def make(server: Smtpd, *, connections: int = 1, timeouts: Timeouts = TIMEOUTS) -> SmtpTransport:
            relay = Relay.parse(server.url, timeouts=timeouts, connections=connections)
            transport = SmtpTransport(relay, clock=clock, random=lambda: 0.5)
            stack.callback(transport.close)
            return transport

        yield make


# -- keeping -----------------------------------------------------------------------------------------------------------


def test_connection_is_kept_for_the_next_send(server: Smtpd, opened: Open) -> None:
    transport = opened(server)
    for _ in range(3):
        assert verdicts(send(transport, envelope())[0]) == OK
    assert server.sessions == 1
    assert not server.has_heard("RSET")


def test_connection_says_goodbye_after_a_hundred_emails(server: Smtpd, opened: Open) -> None:
    emails = [envelope() for _ in range(250)]
    assert all(verdicts(hand_off) == OK for hand_off in send(opened(server), *emails))
    assert server.sessions == 3
    assert [line for _, line in server.commands].count("QUIT") == 2


def test_connection_that_was_idle_for_a_minute_is_not_used_again(server: Smtpd, opened: Open, clock: Clock) -> None:
    transport = opened(server)
    send(transport, envelope())
    clock.ahead += 61
    assert verdicts(send(transport, envelope())[0]) == OK
    server.wait_until(lambda: (1, "QUIT") in server.commands, "goodbye on the idle connection")
    assert server.sessions == 2


def test_close_says_goodbye_on_idle_connections(server: Smtpd, opened: Open) -> None:
    transport = opened(server)
    send(transport, envelope())
    transport.close()
    server.wait_until(lambda: server.has_heard("QUIT"), "goodbye")


def test_transport_can_be_used_after_close(server: Smtpd, opened: Open) -> None:
    transport = opened(server)
    transport.close()
    assert verdicts(send(transport, envelope())[0]) == OK


def test_connections_are_opened_as_far_as_emails_wait(server: Smtpd, opened: Open) -> None:
    gate = Hold(threading.Event())
    server.script.on("dot", gate, Accept(), Say("250 2.0.0 Ok"))
    caller = Caller(opened(server, connections=20), *[envelope() for _ in range(7)])
    caller.on_yield = lambda: gate.until.set() if server.sessions == 7 else None
    assert all(verdicts(hand_off) == OK for hand_off in caller.run().values())
    assert server.sessions == 7


def test_forked_child_leaves_the_parents_connection_alone(server: Smtpd) -> None:
    program = f"""
import os
from postroom.transport.relay import Relay
from postroom.transport.smtp import SmtpTransport
from tests.sending import envelope, send
transport = SmtpTransport(Relay.parse("{server.url}"))
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


def test_idle_connection_that_the_relay_closed_is_replaced(server: Smtpd, opened: Open) -> None:
    transport = opened(server)
    send(transport, envelope())
    server.hang_up()
    server.wait_until(lambda: server.open_sessions == 0, "end of the idle connection")
    assert verdicts(send(transport, envelope())[0]) == OK


@pytest.mark.parametrize("actions", [(Cut(),), (Cut(reset=True),), (Say("421 4.4.2 idle"), Cut())])
def test_reused_connection_that_ends_at_mail_is_replaced_free_of_charge(
    server: Smtpd, opened: Open, actions: tuple[Cut | Say, ...]
) -> None:
    transport = opened(server)
    send(transport, envelope())
    server.script.on("mail", *actions, times=1)
    email = envelope()
    caller = Caller(transport, email)
    assert verdicts(caller.run()[email.email_id]) == OK
    assert caller.fenced == {email.email_id: 1}
    assert [message.session for message in server.received] == [1, 2]


def test_connection_is_replaced_only_once_for_an_email(server: Smtpd, opened: Open) -> None:
    transport = opened(server)
    send(transport, envelope())
    server.script.on("mail", Say("421 4.4.2 idle"), Cut())
    assert verdicts(send(transport, envelope())[0]) == [Verdict.TRANSIENT]
    assert server.sessions == 2


def test_relay_that_closes_after_each_email_gets_them_all(server: Smtpd, opened: Open) -> None:
    server.script.on("dot", Accept(), Say("250 2.0.0 Ok"), Cut())
    emails = [envelope() for _ in range(30)]
    assert all(verdicts(hand_off) == OK for hand_off in send(opened(server, connections=3), *emails))
    assert sorted(subject(message.data) for message in server.received) == sorted(e.email_id for e in emails)


# -- a relay that takes few --------------------------------------------------------------------------------------------


def test_relay_that_allows_few_connections_gets_everything_over_those(opened: Open) -> None:
    with Smtpd(Offer(connections=2)) as server:
        transport = opened(server, connections=10)
        hand_offs = send(transport, *[envelope() for _ in range(60)])
        assert all(verdicts(hand_off) == OK for hand_off in hand_offs)
        assert transport.resting() == 0
        assert server.violations == []


# -- the breaker -------------------------------------------------------------------------------------------------------


def test_relay_that_is_down_is_left_alone_and_probed_when_the_rest_is_over(
    server: Smtpd, opened: Open, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="postroom")
    transport = opened(server, connections=4)
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
    assert all(verdicts(hand_off) == OK for hand_off in send(transport, *[envelope() for _ in range(4)]))
    assert [record.message for record in caplog.records] == ["relay down", "relay up"]
    assert "example.com" not in caplog.text


def test_only_one_connection_probes_however_many_threads_send(server: Smtpd, opened: Open, clock: Clock) -> None:
    transport = opened(server, connections=4)
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


def test_probe_that_is_abandoned_leaves_the_way_free_for_another(server: Smtpd, opened: Open, clock: Clock) -> None:
    transport = opened(server)
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


def test_emails_wait_for_the_probe_of_another_thread(server: Smtpd, opened: Open, clock: Clock) -> None:
    transport = opened(server)
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


def test_relay_that_wants_authentication_at_mail_is_left_alone_after_three(server: Smtpd, opened: Open) -> None:
    server.script.on("mail", Say("530 5.7.0 Authentication required"))
    transport = opened(server)
    caller = Caller(transport, *[envelope() for _ in range(10)])
    assert {tuple(verdicts(hand_off)) for hand_off in caller.run().values()} == {tuple(ROUTE)}
    assert len(caller.hand_offs) == 3
    assert transport.resting() > 0


def test_emails_under_way_end_normally_when_the_breaker_opens(server: Smtpd, opened: Open) -> None:
    gate = Hold(threading.Event())
    server.script.on("dot", gate, Accept(), Say("250 2.0.0 Ok"))
    server.script.on("mail", Say("530 5.7.0 Authentication required"), only="<other@")
    good, bad = envelope(), [envelope(mail_from="other@example.org") for _ in range(6)]
    transport = opened(server, connections=2)
    caller = Caller(transport, good, *bad)
    caller.on_yield = lambda: gate.until.set() if transport.resting() else None
    ended = caller.run()
    assert verdicts(ended[good.email_id]) == OK
    assert len(caller.waiting) == 3


# -- ping --------------------------------------------------------------------------------------------------------------


def test_ping_comes_and_goes_politely(server: Smtpd, opened: Open) -> None:
    opened(server).ping()
    server.wait_until(lambda: server.has_heard("QUIT"), "goodbye")
    assert [line.partition(" ")[0] for _, line in server.commands] == ["EHLO", "QUIT"]


def test_ping_says_what_is_wrong(server: Smtpd, opened: Open) -> None:
    transport = opened(server)
    server.script.on("connect", Say("554 5.7.1 You are on a list"), Cut())
    with pytest.raises(ConnectionError, match=r"^smtp://127.0.0.1:\d+ cannot be used: .* 554 5.7.1 You are on a list$"):
        transport.ping()
    server.stop()
    with pytest.raises(ConnectionError, match="refused"):
        transport.ping()
    assert transport.resting() == 0


def test_ping_gives_up_in_time(server: Smtpd, opened: Open) -> None:
    server.script.on("connect", Silence())
    transport = opened(server, timeouts=Timeouts(connect=0.3, greeting=0.3))
    with pytest.raises(ConnectionError, match="no answer from the relay at GREETING"):
        transport.ping()


def test_next_address_is_tried_where_the_first_refuses(server: Smtpd) -> None:
    relay = Relay.parse(f"smtp://localhost:{server.port}", timeouts=TIMEOUTS)  # 127.0.0.1, then ::1
    transport = SmtpTransport(relay)
    assert verdicts(send(transport, envelope())[0]) == OK
    transport.ping()
    transport.close()
    server.stop()
    (hand_off,) = send(transport, envelope())
    assert (hand_off.outcomes[0].verdict, hand_off.outcomes[0].phase) == (Verdict.ROUTE, Phase.CONNECT)
