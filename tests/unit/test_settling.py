"""What each verdict makes of a recipient and of its email."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from postroom.mail import settling
from postroom.mail.email import (
    Address,
    Email,
    Kind,
    Life,
    OnUncertain,
    Recipient,
    RecipientStatus,
    Status,
)
from postroom.mail.outcome import HandOff, Outcome, Phase, Reply, Verdict
from postroom.mail.settling import Worker
from tests import make

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
POLICY = make.retry_policy()
A, B = "a@example.com", "b@example.com"


def claimed(*addresses: str, on_uncertain: OnUncertain = OnUncertain.RESEND, **life: object) -> Email:
    recipients = tuple(Recipient(address=address, kind=Kind.TO) for address in addresses)
    base = Life(status=Status.SENDING, recipients=recipients, expires_at=NOW + timedelta(days=3), attempts=1)
    return Email(
        id="01900000-0000-7000-8000-000000000000",
        account="default",
        message_id="<x@example.com>",
        created_at=NOW,
        sender=Address("me@example.com"),
        to=tuple(Address(address) for address in addresses),
        subject="s",
        text="t",
        max_attempts=5,
        on_uncertain=on_uncertain,
        life=replace(base, **life),  # type: ignore[arg-type]
    )


def settled(email: Email, **verdicts: Verdict) -> Life:
    """The life after one hand-off; verdicts are named by the local part of the address."""
    outcomes = [
        Outcome(
            recipient=f"{name}@example.com",
            verdict=verdict,
            phase=Phase.RCPT,
            message="as scripted",
            reply=Reply(code=550, enhanced="5.1.1", text="no such user") if verdict is Verdict.PERMANENT else None,
        )
        for name, verdict in verdicts.items()
    ]
    hand_off = HandOff(email_id=email.id, relay="test", seconds=0.5, outcomes=outcomes)
    return settling.settle(
        email, hand_off, worker=Worker(name="w", task="t-1"), policy=POLICY, now=NOW, random=lambda: 0.5
    )


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict.ACCEPTED, Status.SENT),
        (Verdict.PERMANENT, Status.BOUNCED),
        (Verdict.REJECTED, Status.FAILED),
        (Verdict.TRANSIENT, Status.RETRYING),
        (Verdict.UNCERTAIN, Status.RETRYING),
        (Verdict.ROUTE, Status.QUEUED),
        (Verdict.RELEASED, Status.QUEUED),
    ],
)
def test_lone_recipients_verdict_decides_the_status(verdict: Verdict, status: Status) -> None:
    assert settled(claimed(A), a=verdict).status is status


@pytest.mark.parametrize("verdict", [Verdict.ROUTE, Verdict.RELEASED])
def test_trouble_that_is_not_the_emails_costs_no_attempt(verdict: Verdict) -> None:
    assert settled(claimed(A), a=verdict).attempts == 0


@pytest.mark.parametrize("verdict", [Verdict.TRANSIENT, Verdict.UNCERTAIN])
def test_a_real_attempt_is_spent(verdict: Verdict) -> None:
    assert settled(claimed(A), a=verdict).attempts == 1


def test_handed_back_email_is_due_at_once_and_keeps_its_last_error() -> None:
    life = settled(claimed(A), a=Verdict.RELEASED)
    assert life.next_attempt_at == NOW
    assert life.last_error is None


def test_email_that_was_retrying_stays_so_when_the_relay_is_down() -> None:
    recipients = (Recipient(address=A, kind=Kind.TO, status=RecipientStatus.RETRYING),)
    life = settled(claimed(A, recipients=recipients, attempts=3), a=Verdict.ROUTE)
    assert life.status is Status.RETRYING
    assert life.attempts == 2


def test_only_the_refused_recipient_is_tried_again() -> None:
    life = settled(claimed(A, B), a=Verdict.ACCEPTED, b=Verdict.TRANSIENT)
    assert life.status is Status.RETRYING
    assert [r.status for r in life.recipients] == [RecipientStatus.SENT, RecipientStatus.RETRYING]
    assert [r.address for r in life.pending] == [B]
    assert life.sent_at == NOW


def test_email_is_sent_when_one_took_it_and_another_bounced() -> None:
    life = settled(claimed(A, B), a=Verdict.ACCEPTED, b=Verdict.PERMANENT)
    assert life.status is Status.SENT
    assert life.recipients[1].status is RecipientStatus.BOUNCED
    assert (life.recipients[1].smtp_code, life.recipients[1].enhanced_code) == (550, "5.1.1")
    assert life.recipients[1].message == "no such user"


def test_uncertain_email_is_held_when_its_sender_says_so() -> None:
    life = settled(claimed(A, on_uncertain=OnUncertain.HOLD), a=Verdict.UNCERTAIN)
    assert life.status is Status.UNCERTAIN
    assert life.next_attempt_at is None
    assert life.possible_duplicate


def test_uncertain_email_is_resent_flagged_and_not_before_the_doubt_delay() -> None:
    policy_pause = POLICY.doubt_delay
    life = settled(claimed(A), a=Verdict.UNCERTAIN)
    assert life.possible_duplicate
    assert life.next_attempt_at is not None
    assert life.next_attempt_at - NOW >= policy_pause


def test_last_attempt_fails_the_email() -> None:
    life = settled(claimed(A, attempts=5), a=Verdict.TRANSIENT)
    assert life.status is Status.FAILED
    assert life.last_error is not None
    assert life.last_error.kind == "exhausted"


def test_last_attempt_does_not_undo_what_others_took() -> None:
    life = settled(claimed(A, B, attempts=5), a=Verdict.ACCEPTED, b=Verdict.TRANSIENT)
    assert life.status is Status.SENT
    assert life.recipients[1].status is RecipientStatus.FAILED


def test_attempt_beyond_the_deadline_is_not_waited_for() -> None:
    life = settled(claimed(A, expires_at=NOW + timedelta(seconds=20)), a=Verdict.TRANSIENT)
    assert life.status is Status.FAILED
    assert life.last_error is not None
    assert life.last_error.kind == "expired"


@pytest.mark.parametrize("end", [{"attempts": 5}, {"expires_at": NOW + timedelta(seconds=20)}])
def test_email_that_may_have_been_delivered_in_its_last_attempt_has_not_failed(end: dict[str, object]) -> None:
    life = settled(claimed(A, **end), a=Verdict.UNCERTAIN)
    assert life.status is Status.UNCERTAIN
    assert life.recipients[0].status is RecipientStatus.UNCERTAIN
    assert life.recipients[0].message == "as scripted"
    assert life.last_error is not None
    assert (life.last_error.kind, life.last_error.permanent) == ("uncertain", False)
    assert life.next_attempt_at is None
    assert life.possible_duplicate
    assert life.timeline[-1].event == "uncertain"


def test_recipients_that_surely_got_nothing_in_the_last_attempt_have_failed() -> None:
    life = settled(claimed(A, B, attempts=5), a=Verdict.UNCERTAIN, b=Verdict.TRANSIENT)
    assert life.status is Status.UNCERTAIN
    assert [r.status for r in life.recipients] == [RecipientStatus.UNCERTAIN, RecipientStatus.FAILED]
    assert life.recipients[1].message == "gave up after 5 attempts"


def test_attempt_is_told_in_the_timeline_with_its_worker_and_task() -> None:
    life = settled(claimed(A), a=Verdict.PERMANENT)
    attempt = next(e for e in life.timeline if e.event == "attempt")
    assert attempt.detail["worker"] == "w"
    assert attempt.detail["task"] == "t-1"
    assert attempt.detail["message"] == "550 no such user"
    assert life.timeline[-1].event == "bounced"


def test_repeated_relay_trouble_folds_into_one_event() -> None:
    email = claimed(A)
    for _ in range(100):
        life = settled(email, a=Verdict.ROUTE)
        email = replace(email, life=replace(life, status=Status.SENDING, attempts=1))
    assert len(email.life.timeline) <= 2
    assert email.life.timeline[-1].detail["count"] >= 99  # type: ignore[operator]
