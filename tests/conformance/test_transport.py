"""What every transport promises (`transport.base`), for each adapter. A new adapter adds a fixture to `RIGS`."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import pytest

from postroom.mail.outcome import Verdict
from postroom.transport.base import Transport
from postroom.transport.simulated import SimulatedTransport
from postroom.transport.smtp import SmtpTransport
from tests.sending import PATIENT, Caller, envelope, in_threads, relay_at, send, subject, verdicts
from tests.smtpd import Accept, Cut, Hold, Say, Silence, Smtpd

CAPACITY = 4
OK = "anna@example.com"
SLOW = "slow-2@example.com"  # about two seconds, of which the larger part passes before the final dot


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A transport of capacity 4, and the ids that its next hop has really taken (None where there is none)."""

    transport: Transport
    delivered: Callable[[], list[str]] | None = None

    def assert_delivered(self, ids: Collection[str]) -> None:
        """The next hop has taken these and no others, each once."""
        if self.delivered is not None:
            assert sorted(self.delivered()) == sorted(ids)


@contextmanager
def simulated() -> Iterator[Rig]:
    yield Rig(transport=SimulatedTransport(min_seconds=0.01, max_seconds=0.05, capacity=CAPACITY))


@contextmanager
def smtp() -> Iterator[Rig]:
    over = threading.Event()
    with Smtpd() as server:
        server.script.on("rcpt", Say("550 5.1.1 No such user"), only="<bounce@")
        server.script.on("rcpt", Say("451 4.7.1 Later"), only="<defer@")
        server.script.on("rcpt", Silence(), only="<timeout@")
        server.script.on("rcpt", Say("530 5.7.0 Authentication required"), only="<route-down@")
        server.script.on("rcpt", Hold(over, seconds=2), Say("250 2.1.5 Ok"), only="<slow-2@")
        server.script.on("dot", Say("554 5.6.0 No"), only="reject@")
        server.script.on("dot", Accept(), Cut(), only="uncertain@")
        timeouts = replace(PATIENT, command=3)
        transport = SmtpTransport(relay_at(server.url, connections=CAPACITY, timeouts=timeouts))
        try:
            yield Rig(transport=transport, delivered=lambda: [subject(m.data) for m in list(server.received)])
        finally:
            over.set()
            transport.close()
        assert server.violations == []


RIGS: dict[str, Callable[[], AbstractContextManager[Rig]]] = {"simulated": simulated, "smtp": smtp}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with RIGS[request.param]() as made:
        yield made


# -- outcomes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipient", "verdict"),
    [
        (OK, Verdict.ACCEPTED),
        ("bounce@example.com", Verdict.PERMANENT),
        ("defer@example.com", Verdict.TRANSIENT),
        ("timeout@example.com", Verdict.TRANSIENT),
        ("reject@example.com", Verdict.REJECTED),
        ("uncertain@example.com", Verdict.UNCERTAIN),
        ("route-down@example.com", Verdict.ROUTE),
    ],
)
def test_outcome_says_what_became_of_the_recipient(rig: Rig, recipient: str, verdict: Verdict) -> None:
    (hand_off,) = send(rig.transport, envelope(recipient))
    (outcome,) = hand_off.outcomes
    assert (outcome.recipient, outcome.verdict) == (recipient, verdict)
    assert outcome.message


def test_every_recipient_has_exactly_one_outcome(rig: Rig) -> None:
    emails = [
        envelope(OK, "bounce@example.com", "defer@example.com", "berta@example.com"),
        envelope("bounce@example.com", "bounce+2@example.net"),
        envelope(OK),
        envelope(*(f"r{i}@example.com" for i in range(50))),
    ]
    for email, hand_off in zip(emails, send(rig.transport, *emails), strict=True):
        assert [outcome.recipient for outcome in hand_off.outcomes] == list(email.rcpt_to)


def test_refused_recipient_does_not_harm_the_others(rig: Rig) -> None:
    email = envelope(OK, "bounce@example.com", "defer@example.com")
    (hand_off,) = send(rig.transport, email)
    assert verdicts(hand_off) == [Verdict.ACCEPTED, Verdict.PERMANENT, Verdict.TRANSIENT]
    rig.assert_delivered([email.email_id])


def test_hand_off_names_relay_and_duration(rig: Rig) -> None:
    (hand_off,) = send(rig.transport, envelope())
    assert hand_off.relay == rig.transport.relay
    assert 0 <= hand_off.seconds < 10


# -- taking ------------------------------------------------------------------------------------------------------------


def test_ends_at_once_when_there_is_nothing_to_take(rig: Rig) -> None:
    caller = Caller(rig.transport)
    assert caller.run() == {}
    assert caller.offered == [CAPACITY]
    rig.assert_delivered([])


def test_never_has_more_under_way_than_its_capacity(rig: Rig) -> None:
    emails = [envelope() for _ in range(5 * CAPACITY)]
    caller = Caller(rig.transport, *emails)
    ended = caller.run()
    assert rig.transport.capacity == CAPACITY
    # As many again may follow them at once, and as many have ended and not been yielded yet.
    assert CAPACITY <= caller.most_under_way <= 3 * CAPACITY
    assert all(1 <= free <= CAPACITY for free in caller.offered)
    assert ended.keys() == {email.email_id for email in emails}
    rig.assert_delivered([email.email_id for email in emails])


def test_email_that_arrives_later_does_not_wait_for_a_slow_one(rig: Rig) -> None:
    slow, late = envelope(SLOW), envelope()
    caller = Caller(rig.transport, slow)
    caller.on_yield = lambda: caller.waiting.extend([late] if len(caller.yielded_at) == 2 else [])
    caller.run()
    assert [hand_off.email_id for hand_off in caller.hand_offs] == [late.email_id, slow.email_id]


def test_yields_at_least_once_a_second_while_nothing_ends(rig: Rig) -> None:
    caller = Caller(rig.transport, envelope(SLOW))
    caller.run()
    assert caller.longest_silence < 1.0


def test_take_is_asked_at_least_once_a_second_while_slots_are_free(rig: Rig) -> None:
    caller = Caller(rig.transport, envelope(SLOW))
    caller.run()
    assert caller.offered.count(CAPACITY - 1) >= 2


# -- the fence ---------------------------------------------------------------------------------------------------------


def test_fence_is_asked_exactly_once_before_an_email_is_accepted(rig: Rig) -> None:
    emails = [envelope() for _ in range(3 * CAPACITY)]
    caller = Caller(rig.transport, *emails)
    caller.run()
    assert caller.fenced == {email.email_id: 1 for email in emails}


def test_fence_is_not_asked_for_an_email_that_all_recipients_refuse(rig: Rig) -> None:
    caller = Caller(rig.transport, envelope("bounce@example.com", "bounce@example.net"))
    caller.run()
    assert caller.fence_calls == []


def test_what_the_fence_refuses_is_released_and_never_delivered(rig: Rig) -> None:
    emails = [envelope() for _ in range(3 * CAPACITY)]
    refused = {email.email_id for email in emails[::2]}
    hand_offs = send(rig.transport, *emails, fence=lambda ids: set(ids) - refused)
    for hand_off in hand_offs:
        assert verdicts(hand_off) == [Verdict.RELEASED if hand_off.email_id in refused else Verdict.ACCEPTED]
    rig.assert_delivered([email.email_id for email in emails[1::2]])


def test_released_email_keeps_recipients_that_were_refused(rig: Rig) -> None:
    (hand_off,) = send(rig.transport, envelope("bounce@example.com", OK), fence=lambda ids: ())
    assert verdicts(hand_off) == [Verdict.PERMANENT, Verdict.RELEASED]


def test_fence_that_fails_releases_everything_and_harms_nothing_later(rig: Rig) -> None:
    def broken(ids: Collection[str]) -> Collection[str]:
        raise RuntimeError("the store is away")

    hand_offs = send(rig.transport, *[envelope() for _ in range(CAPACITY)], fence=broken)
    assert {verdict for hand_off in hand_offs for verdict in verdicts(hand_off)} == {Verdict.RELEASED}
    rig.assert_delivered([])
    email = envelope()
    assert verdicts(send(rig.transport, email)[0]) == [Verdict.ACCEPTED]
    rig.assert_delivered([email.email_id])


# -- closing, threads, the rest ----------------------------------------------------------------------------------------


def test_closing_the_iterator_delivers_nothing_more(rig: Rig) -> None:
    caller = Caller(rig.transport, *[envelope(SLOW) for _ in range(CAPACITY)])
    under_way = rig.transport.send(caller.take, fence=caller.fence)
    assert next(under_way) == []
    under_way.close()
    email = envelope()
    began = time.monotonic()
    assert verdicts(send(rig.transport, email)[0]) == [Verdict.ACCEPTED]
    assert time.monotonic() - began < 2, "a later send waits for what was dropped"
    assert caller.fence_calls == []
    rig.assert_delivered([email.email_id])


def test_many_threads_may_send_at_once(rig: Rig) -> None:
    callers = [Caller(rig.transport, *[envelope() for _ in range(3 * CAPACITY)]) for _ in range(6)]
    in_threads([caller.run for caller in callers])
    ended = [hand_off for caller in callers for hand_off in caller.hand_offs]
    assert {verdict for hand_off in ended for verdict in verdicts(hand_off)} == {Verdict.ACCEPTED}
    assert len(ended) == 18 * CAPACITY
    rig.assert_delivered([hand_off.email_id for hand_off in ended])


def test_healthy_relay_needs_no_rest_and_answers_a_ping(rig: Rig) -> None:
    rig.transport.ping()
    assert rig.transport.resting() == 0
    rig.assert_delivered([])


def test_close_may_be_called_twice(rig: Rig) -> None:
    send(rig.transport, envelope())
    rig.transport.close()
    rig.transport.close()
