"""A relay that misbehaves at random, and a store that does: what we say became of an email agrees with what the relay
took. The seed is the test's parameter, so that a run can be repeated as far as the timing allows."""

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import pytest

from postroom.mail.outcome import Verdict
from tests.sending import QUICK, Caller, Clock, envelope, subject, transports, verdicts
from tests.smtpd import Accept, Action, Cut, Offer, Phase, Raw, Say, Script, Silence, Smtpd

ROUNDS = 60
EMAILS = 120
TIMEOUTS = replace(QUICK, connect=5)
ANYWHERE: list[tuple[Action, ...]] = [
    (Cut(),),
    (Cut(reset=True),),
    (Say("421 4.3.2 closing"), Cut()),
    (Raw(b"what?\r\n"),),
    (Raw(b"25"), Cut()),
    (Say("451 4.3.0 later"),),
]
AT_DOT: list[tuple[Action, ...]] = [
    *ANYWHERE,
    (Accept(), Cut()),
    (Accept(), Raw(b"250 2.0.0 O"), Cut(reset=True)),
    (Accept(), Raw(b"nonsense\r\n")),
    (Accept(), Say("250 2.0.0 Ok"), Cut()),
]


class Nemesis(Script):
    """Something goes wrong at one phase in so many, and now and then the relay says nothing at all."""

    def __init__(self, seed: int, *, one_in: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._one_in = one_in

    def next(self, phase: Phase, argument: str) -> tuple[Action, ...]:
        with self._lock:
            if phase == "body" or self._random.randrange(self._one_in):
                return ()
            if not self._random.randrange(20):
                return (Silence(),)
            return self._random.choice(AT_DOT if phase == "dot" else ANYWHERE)


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "stepwise"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_verdicts_agree_with_what_the_relay_took(seed: int, pipelining: bool) -> None:
    chance, clock = random.Random(seed), Clock()

    def fence(ids: Collection[str]) -> Collection[str]:
        if not chance.randrange(15):
            raise RuntimeError("the store is away")
        return [email_id for email_id in ids if chance.randrange(15)]

    waiting = {email.email_id: email for email in (envelope(size=chance.randrange(3000)) for _ in range(EMAILS))}
    accepted, doubtful = Counter[str](), Counter[str]()
    with Smtpd(Offer(pipelining=pipelining)) as server, transports(clock) as make:
        server.script = Nemesis(seed, one_in=12)
        transport = make(server.url, connections=6, timeouts=TIMEOUTS)
        for _ in range(ROUNDS):
            clock.ahead += transport.resting()
            for email_id, hand_off in Caller(transport, *waiting.values(), fence=fence).run().items():
                (verdict,) = verdicts(hand_off)
                accepted[email_id] += verdict is Verdict.ACCEPTED
                doubtful[email_id] += verdict is Verdict.UNCERTAIN
                if verdict is Verdict.ACCEPTED:
                    del waiting[email_id]
            if not waiting:
                break
        taken = Counter(subject(message.data) for message in server.received)
        assert server.violations == []
    assert not waiting
    assert accepted.keys() >= taken.keys()
    for email_id, times in taken.items():
        assert accepted[email_id] <= times <= accepted[email_id] + doubtful[email_id]
