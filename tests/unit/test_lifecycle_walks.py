"""What holds for every life, however it goes: random walks of senders, workers, crashes and clocks."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from postroom.mail import lifecycle, settling
from postroom.mail.email import Email, Life, OnUncertain, Status
from postroom.mail.lifecycle import CANCELABLE, CLAIMABLE, FINAL, MOVES, RETRYABLE
from postroom.mail.outcome import HandOff, Outcome, Phase, Reply, Verdict
from postroom.mail.settling import Worker
from tests import make
from tests.make import HOUR, SECOND

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
Step = Callable[[Email, datetime, Random], Life]


def claim(email: Email, now: datetime, _: Random) -> Life:
    return lifecycle.move(email.life, Status.SENDING, attempts=email.life.attempts + 1, last_attempt_at=now)


def settle(email: Email, now: datetime, random: Random) -> Life:
    outcomes = [
        Outcome(
            recipient=recipient.address,
            verdict=random.choice(list(Verdict)),
            phase=Phase.DOT,
            message="m",
            reply=random.choice([None, Reply(code=451, enhanced=None, text="t")]),
        )
        for recipient in email.life.pending
    ]
    hand_off = HandOff(email_id=email.id, relay="r", seconds=0.1, outcomes=outcomes)
    worker = Worker(name="w")
    return settling.settle(email, hand_off, worker=worker, policy=make.retry_policy(), now=now, random=random.random)


def lapse(email: Email, now: datetime, random: Random) -> Life:
    if random.random() < 0.5:
        return lifecycle.lapse_before_fence(email.life, now=now, again_at=now, worker="w")
    return lifecycle.lapse_after_fence(
        email.life,
        now=now,
        again_at=now + SECOND,
        worker="w",
        on_uncertain=email.on_uncertain,
        max_attempts=email.max_attempts,
    )


STEPS: dict[Step, frozenset[Status]] = {  # each with the states in which it may be taken
    claim: CLAIMABLE,
    settle: frozenset({Status.SENDING}),
    lapse: frozenset({Status.SENDING}),
    lambda email, now, _: lifecycle.release(email.life, now=now): frozenset({Status.SCHEDULED}),
    lambda email, now, _: lifecycle.expire(email.life, now=now): CLAIMABLE,
    lambda email, now, _: lifecycle.cancel(email.life, now=now): CANCELABLE,
    lambda email, now, _: lifecycle.retry(email.life, now=now, max_age=HOUR): RETRYABLE,
    lambda email, now, random: lifecycle.reschedule(email.life, now + random.randint(-1, 2) * HOUR, now=now): frozenset(
        {Status.SCHEDULED}
    ),
}


def accepted(random: Random, choice: OnUncertain) -> Email:
    due = NOW + random.randint(0, 1) * HOUR
    build = make.scheduled(NOW, due) if due > NOW else make.email(NOW)
    addresses = [f"{i}@example.com" for i in range(random.randint(1, 3))]
    life = replace(build.life, recipients=make.new_life(NOW, addresses).recipients)
    return replace(build, life=life, on_uncertain=choice, max_attempts=random.randint(1, 6))


def check(life: Life, email: Email) -> None:
    """What holds at every moment of a life."""
    assert [r.address for r in life.recipients] == [r.address for r in email.life.recipients]
    assert len(life.timeline) <= lifecycle.TIMELINE_LIMIT
    if life.status in FINAL | {Status.UNCERTAIN}:
        assert not life.pending
        assert life.next_attempt_at is None
    else:
        assert life.pending
    if life.status in CLAIMABLE:
        assert life.next_attempt_at is not None
    if life.status is Status.FAILED:
        assert life.last_error is not None
    assert 0 <= life.crash_count <= lifecycle.CRASHES_ALLOWED


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=True), st.sampled_from(OnUncertain))
def test_every_walk_keeps_to_the_table_and_ends_where_nothing_is_pending(random: Random, choice: OnUncertain) -> None:
    email, now = accepted(random, choice), NOW
    for _ in range(30):
        now += timedelta(seconds=random.choice([0, 1, 60, 3600]))
        step = random.choice([s for s, states in STEPS.items() if email.life.status in states] or [None])
        if step is None:
            break
        life = step(email, now, random)
        assert life.status in MOVES[email.life.status]
        check(life, email)
        email = replace(email, life=life)
