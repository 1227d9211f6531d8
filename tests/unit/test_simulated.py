"""What the simulated transport does to each address, and how long it takes over it."""

import re

import pytest

from postroom.mail.outcome import Phase, Verdict
from postroom.transport import simulated, simulated_fate
from postroom.transport.simulated import SimulatedTransport
from tests.sending import Caller, Clock, envelope, send, verdicts


def quick(**changes: object) -> SimulatedTransport:
    return SimulatedTransport(**{"min_seconds": 0.0, "max_seconds": 0.0, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("recipient", "attempt", "verdict", "phase", "code"),
    [
        ("anna@example.com", 1, Verdict.ACCEPTED, Phase.DOT, 250),
        ("bounce@example.com", 9, Verdict.PERMANENT, Phase.RCPT, 550),
        ("BOUNCE@EXAMPLE.COM", 1, Verdict.PERMANENT, Phase.RCPT, 550),
        ("bounce+order-17@example.net", 1, Verdict.PERMANENT, Phase.RCPT, 550),
        ("bouncer@example.com", 1, Verdict.ACCEPTED, Phase.DOT, 250),
        ("full@example.com", 1, Verdict.TRANSIENT, Phase.RCPT, 452),
        ("defer@example.com", 99, Verdict.TRANSIENT, Phase.RCPT, 451),
        ("defer-2-then-ok@example.com", 1, Verdict.TRANSIENT, Phase.RCPT, 451),
        ("defer-2-then-ok@example.com", 2, Verdict.TRANSIENT, Phase.RCPT, 451),
        ("defer-2-then-ok@example.com", 3, Verdict.ACCEPTED, Phase.DOT, 250),
        ("defer-0-then-ok@example.com", 1, Verdict.ACCEPTED, Phase.DOT, 250),
        ("defer--then-ok@example.com", 1, Verdict.ACCEPTED, Phase.DOT, 250),
        ("reject@example.com", 1, Verdict.REJECTED, Phase.DOT, 554),
        ("timeout@example.com", 1, Verdict.TRANSIENT, Phase.RCPT, None),
        ("uncertain@example.com", 1, Verdict.UNCERTAIN, Phase.DOT, None),
        ("uncertain@example.com", 2, Verdict.ACCEPTED, Phase.DOT, 250),
        ("slow@example.com", 1, Verdict.ACCEPTED, Phase.DOT, 250),
        ("no-at-sign", 1, Verdict.ACCEPTED, Phase.DOT, 250),
    ],
)
def test_address_decides_its_fate(
    recipient: str, attempt: int, verdict: Verdict, phase: Phase, code: int | None
) -> None:
    outcome = simulated_fate.of(recipient, attempt=attempt).outcome(recipient)
    assert (outcome.recipient, outcome.verdict, outcome.phase) == (recipient, verdict, phase)
    assert (outcome.reply.code if outcome.reply else None) == code


def test_doubt_comes_once_though_a_retry_by_hand_counts_attempts_anew() -> None:
    assert simulated_fate.of("uncertain@example.com", attempt=1, in_doubt=True).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("recipient", "seconds"),
    [
        ("slow@example.com", 30),
        ("slow-7@example.com", 7),
        ("slow-0@example.com", 0),
        ("slow-999999999@example.com", 600),
        ("slow-@example.com", None),
        ("anna@example.com", None),
    ],
)
def test_slow_addresses_name_their_time(recipient: str, seconds: float | None) -> None:
    assert simulated_fate.of(recipient, attempt=1).seconds == seconds


@pytest.mark.parametrize(("address", "code"), [("route-down@example.com", None), ("auth-refused@example.com", 535)])
def test_route_trouble_meets_the_whole_email_twice(address: str, code: int | None) -> None:
    transport = quick()
    email = envelope("anna@example.com", address)
    for expected in (Verdict.ROUTE, Verdict.ROUTE, Verdict.ACCEPTED, Verdict.ACCEPTED):
        (hand_off,) = send(transport, email)
        assert verdicts(hand_off) == [expected, expected]
        if expected is Verdict.ROUTE:
            assert (hand_off.outcomes[0].reply.code if hand_off.outcomes[0].reply else None) == code


def test_emails_whose_time_is_up_together_pass_the_fence_together() -> None:
    caller = Caller(quick(capacity=500), *[envelope() for _ in range(1000)])
    caller.run()
    assert [len(call) for call in caller.fence_calls] == [500, 500]


def test_hand_offs_end_in_the_order_of_their_times_not_of_their_arrival() -> None:
    durations = iter([0.9, 0.1, 0.5])
    transport = SimulatedTransport(min_seconds=0.0, max_seconds=0.1, random=lambda: next(durations))
    emails = [envelope() for _ in range(3)]
    caller = Caller(transport, *emails)
    caller.run()
    assert [hand_off.email_id for hand_off in caller.hand_offs] == [emails[i].email_id for i in (1, 2, 0)]


def test_slow_address_takes_the_time_it_names() -> None:
    clock = Clock()
    transport = SimulatedTransport(min_seconds=0.0, max_seconds=0.0, clock=clock)
    slow, quick_one = envelope("slow-300@example.com"), envelope()
    caller = Caller(transport, slow, quick_one)

    def skip() -> None:
        if len(caller.hand_offs) == 1:
            clock.ahead = 300.0

    caller.on_yield = skip
    ended = caller.run()
    assert ended[quick_one.email_id].seconds < 60
    assert ended[slow.email_id].seconds >= 300


def test_every_address_of_the_documented_table_is_scripted() -> None:
    words = re.findall(r"`([a-zN-]+@)`", simulated.__doc__ or "")
    assert len(words) == 11
    for word in words:
        address = word.replace("-N", "-1") + "example.com"
        trouble = simulated_fate.route_trouble((address,))
        fate = trouble or simulated_fate.of(address, attempt=1)
        assert fate != simulated_fate.OK, f"{address} is documented and does nothing"
