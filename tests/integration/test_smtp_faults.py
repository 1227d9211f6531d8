"""A relay that misbehaves at every phase: each recipient still ends with the right verdict."""

import socket
import threading
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace

import pytest

from postroom.mail.outcome import HandOff, Phase, Verdict
from tests.sending import PATIENT, QUICK, Caller, Clock, OpenSmtp, envelope, send, subject, transports, verdicts
from tests.smtpd import Accept, Action, Cut, Hold, Offer, Raw, Say, Silence, Smtpd
from tests.smtpd import Phase as At

GARBAGE = Raw(b"\x00\xff what?\r\n")
HALF = Raw(b"250-half a re")


def delivered(server: Smtpd) -> list[str]:
    return [subject(message.data) for message in list(server.received)]


def only(hand_offs: list[HandOff]) -> tuple[Verdict, Phase]:
    ((outcome,),) = (hand_off.outcomes for hand_off in hand_offs)
    return outcome.verdict, outcome.phase


# -- before anything of the email: the route's trouble -----------------------------------------------------------------


@pytest.mark.parametrize("phase", ["connect", "ehlo"])
@pytest.mark.parametrize(
    "actions",
    [
        (Say("421 4.3.2 busy"), Cut()),
        (Say("554 5.7.1 go away"),),
        (Silence(),),
        (Cut(),),
        (Cut(reset=True),),
        (GARBAGE,),
        (Raw(b"22"), Cut()),
        (Raw(b"2"), Silence()),
    ],
    ids=["421", "554", "silence", "cut", "reset", "garbage", "half", "half-silence"],
)
def test_relay_that_lets_nobody_in_costs_no_email_an_attempt(
    server: Smtpd, opened: OpenSmtp, phase: At, actions: tuple[Action, ...]
) -> None:
    server.script.on(phase, *actions)
    hand_offs = send(opened(server.url, timeouts=QUICK), envelope(), envelope("a@example.com", "b@example.com"))
    assert {verdict for hand_off in hand_offs for verdict in verdicts(hand_off)} == {Verdict.ROUTE}
    possible = {Phase.CONNECT, Phase.GREETING} if phase == "connect" else {Phase.EHLO}  # a reset may come at once
    assert {outcome.phase for hand_off in hand_offs for outcome in hand_off.outcomes} <= possible
    assert delivered(server) == []


def test_refused_connection_is_the_routes_trouble(opened: OpenSmtp) -> None:
    with Smtpd() as server:
        transport = opened(server.url)
    (hand_off,) = send(transport, envelope())
    assert only([hand_off]) == (Verdict.ROUTE, Phase.CONNECT)
    assert "refused" in hand_off.outcomes[0].message


def test_connection_that_is_never_answered_is_the_routes_trouble(opened: OpenSmtp) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        port = full.getsockname()[1]
        for _ in range(3):  # fill the queue of a listener that never accepts
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        transport = opened(f"smtp://127.0.0.1:{port}", timeouts=QUICK)
        hand_offs = send(transport, envelope())
    assert only(hand_offs) == (Verdict.ROUTE, Phase.CONNECT)


def test_name_that_does_not_exist_is_the_routes_trouble(opened: OpenSmtp) -> None:
    (hand_off,) = send(opened("smtp://relay.invalid:25?tls=none"), envelope())
    assert only([hand_off]) == (Verdict.ROUTE, Phase.CONNECT)
    assert "address" in hand_off.outcomes[0].message


def test_dead_relay_is_not_stormed_with_connections(server: Smtpd, opened: OpenSmtp) -> None:
    server.script.on("connect", Say("421 4.3.2 busy"), Cut())
    transport = opened(server.url, connections=50)
    caller = Caller(transport, *[envelope() for _ in range(400)])
    caller.run()
    assert server.sessions == 3  # then the breaker has opened
    assert {verdict for hand_off in caller.hand_offs for verdict in verdicts(hand_off)} == {Verdict.ROUTE}
    assert caller.waiting, "it went on taking"


# -- between MAIL and the final dot: surely not delivered --------------------------------------------------------------


TROUBLE: dict[str, tuple[Action, ...]] = {
    "421": (Say("421 4.3.2 shutting down"), Cut()),
    "cut": (Cut(),),
    "reset": (Cut(reset=True),),
    "garbage": (GARBAGE,),
    "half": (HALF, Cut()),
    "334": (Say("334 what?"),),
    "354": (Say("354 what?"),),
    "silence": (Silence(),),
    "half-silence": (HALF, Silence()),
}
SENSIBLE = {("354", "data"), ("silence", "body"), ("half-silence", "body")}  # no trouble yet in that phase


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "stepwise"])
@pytest.mark.parametrize(
    ("kind", "phase"),
    [(kind, at) for kind in TROUBLE for at in ("mail", "rcpt", "data", "body") if (kind, at) not in SENSIBLE],
)
def test_trouble_before_the_dot_is_transient(opened: OpenSmtp, phase: At, kind: str, pipelining: bool) -> None:
    size = 16_000_000 if phase == "body" else 0  # more than fits into the buffers on the way
    with Smtpd(Offer(pipelining=pipelining, size=None)) as server:
        server.script.on(phase, *TROUBLE[kind])
        (hand_off,) = send(opened(server.url, timeouts=QUICK), envelope("a@example.com", "b@example.com", size=size))
        assert verdicts(hand_off) == [Verdict.TRANSIENT, Verdict.TRANSIENT]
        assert delivered(server) == []


@pytest.mark.parametrize("reset", [False, True], ids=["cut", "reset"])
def test_reason_for_which_the_relay_breaks_off_the_body_is_kept(opened: OpenSmtp, reset: bool) -> None:
    with Smtpd(Offer(size=None)) as server:
        server.script.on("body", Say("552 5.3.4 Too big"), Cut(reset=reset))
        (hand_off,) = send(opened(server.url), envelope(size=16_000_000))
        (outcome,) = hand_off.outcomes
        assert (outcome.verdict, outcome.phase) == (Verdict.REJECTED, Phase.BODY)
        assert outcome.reply is not None
        assert (outcome.reply.code, outcome.reply.enhanced) == (552, "5.3.4")


@pytest.mark.parametrize(
    ("phase", "reply", "verdict"),
    [
        ("mail", "451 4.3.0 later", Verdict.TRANSIENT),
        ("mail", "550 5.7.1 no", Verdict.REJECTED),
        ("mail", "530 5.7.0 log in", Verdict.ROUTE),
        ("rcpt", "450 4.2.0 later", Verdict.TRANSIENT),
        ("rcpt", "550 5.1.1 unknown", Verdict.PERMANENT),
        ("rcpt", "550 5.7.1 relaying denied", Verdict.PERMANENT),
        ("rcpt", "535 5.7.8 log in", Verdict.ROUTE),
        ("data", "451 4.3.0 later", Verdict.TRANSIENT),
        ("data", "554 5.6.0 no", Verdict.REJECTED),
        ("dot", "451-4.3.0 later\r\n451 4.3.0 or never", Verdict.TRANSIENT),
        ("dot", "554 5.6.0 no", Verdict.REJECTED),
        ("dot", "421 4.3.0 closing", Verdict.TRANSIENT),
    ],
)
@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "stepwise"])
def test_refusal_at_each_phase_and_the_next_email_goes_through(
    opened: OpenSmtp, phase: At, reply: str, verdict: Verdict, pipelining: bool
) -> None:
    with Smtpd(Offer(pipelining=pipelining)) as server:
        server.script.on(phase, Say(reply), times=1)
        transport = opened(server.url, connections=1)
        refused, good = envelope(), envelope()
        hand_offs = send(transport, refused, good)
        assert [verdicts(hand_off) for hand_off in hand_offs] == [[verdict], [Verdict.ACCEPTED]]
        assert hand_offs[0].outcomes[0].reply is not None
        assert hand_offs[0].outcomes[0].reply.code == int(reply[:3])
        assert delivered(server) == [good.email_id]
        assert server.violations == []


def test_354_after_all_recipients_were_refused_delivers_nothing(server: Smtpd, opened: OpenSmtp) -> None:
    server.script.on("rcpt", Say("550 5.1.1 unknown"), times=1)
    server.script.on("data", Say("354 go"), times=1)
    refused, good = envelope(), envelope()
    hand_offs = send(opened(server.url, connections=1), refused, good)
    assert [verdicts(hand_off) for hand_off in hand_offs] == [[Verdict.PERMANENT], [Verdict.ACCEPTED]]
    assert delivered(server) == [good.email_id]
    assert server.sessions == 1


def test_lost_link_keeps_recipients_that_were_refused(opened: OpenSmtp) -> None:
    with Smtpd(Offer(size=None)) as server:
        server.script.on("rcpt", Say("550 5.1.1 unknown"), only="<b@")
        server.script.on("body", Cut())
        big = envelope("a@example.com", "b@example.com", size=16_000_000)  # more than fits into the buffers on the way
        (hand_off,) = send(opened(server.url), big)
        assert verdicts(hand_off) == [Verdict.TRANSIENT, Verdict.PERMANENT]


def test_relay_that_leaves_while_the_fence_is_asked_leaves_no_doubt(server: Smtpd, opened: OpenSmtp) -> None:
    def slow_store(ids: Collection[str]) -> Collection[str]:
        server.hang_up()
        return ids

    (hand_off,) = send(opened(server.url), envelope(), fence=slow_store)
    assert verdicts(hand_off) == [Verdict.TRANSIENT]
    assert delivered(server) == []


# -- after the final dot: in doubt -------------------------------------------------------------------------------------


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize(
    "actions",
    [(Cut(),), (Cut(reset=True),), (Silence(),), (HALF, Cut()), (HALF, Silence()), (GARBAGE,), (Say("354 go on"),)],
    ids=["cut", "reset", "silence", "half", "half-silence", "garbage", "354"],
)
def test_no_certain_reply_to_the_dot_is_uncertain(
    server: Smtpd, opened: OpenSmtp, actions: tuple[Action, ...], accepts: bool
) -> None:
    server.script.on("dot", *((Accept(),) if accepts else ()), *actions)
    email = envelope()
    (hand_off,) = send(opened(server.url, timeouts=QUICK), email)
    assert only([hand_off]) == (Verdict.UNCERTAIN, Phase.DOT)
    assert delivered(server) == [email.email_id] * accepts


def test_closing_after_the_dot_leaves_the_email_to_the_fences_word(server: Smtpd, opened: OpenSmtp) -> None:
    dot = Hold(threading.Event())
    server.script.on("dot", Accept(), dot, Say("250 2.0.0 Ok"))
    caller = Caller(opened(server.url), envelope())
    under_way = caller.transport.send(caller.take, fence=caller.fence)
    while not dot.reached.is_set():
        assert next(under_way) == []
    under_way.close()
    dot.until.set()
    assert sum(caller.fenced.values()) == 1


def test_attempt_that_takes_too_long_ends_before_its_dot_though_each_command_is_answered_in_time() -> None:
    clock = Clock()
    with transports(clock) as opened, Smtpd(Offer(pipelining=False)) as server:
        server.script.on("rcpt", Hold(threading.Event(), seconds=0.1), Say("250 2.1.5 Ok"))
        caller = Caller(
            opened(server.url, timeouts=replace(PATIENT, command=60, attempt=200)),
            envelope(*[f"r{i}@example.com" for i in range(50)]),
        )

        def on_yield() -> None:
            clock.ahead += 55

        caller.on_yield = on_yield
        (hand_off,) = caller.run().values()
        assert {(outcome.verdict, outcome.phase) for outcome in hand_off.outcomes} == {(Verdict.TRANSIENT, Phase.RCPT)}
        assert "too slow" in hand_off.outcomes[0].message
        assert delivered(server) == []
