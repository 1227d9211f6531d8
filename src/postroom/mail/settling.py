"""From the outcomes of an attempt to the email's new life: what each verdict means for a recipient, and when to try
again. Pure; `deliver` writes the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from postroom.mail import lifecycle, retry
from postroom.mail.email import (
    PENDING,
    Email,
    Event,
    Json,
    LastError,
    Life,
    OnUncertain,
    Recipient,
    RecipientStatus,
    Status,
)
from postroom.mail.outcome import NO_ATTEMPT, HandOff, Outcome, Verdict
from postroom.mail.retry import Random, RetryPolicy

_STATUS = {
    Verdict.ACCEPTED: RecipientStatus.SENT,
    Verdict.PERMANENT: RecipientStatus.BOUNCED,
    Verdict.REJECTED: RecipientStatus.FAILED,
    Verdict.TRANSIENT: RecipientStatus.RETRYING,
    Verdict.UNCERTAIN: RecipientStatus.RETRYING,
}
_BY_GRAVITY = (  # which outcome an attempt is named after
    Verdict.UNCERTAIN,
    Verdict.REJECTED,
    Verdict.PERMANENT,
    Verdict.TRANSIENT,
    Verdict.ROUTE,
    Verdict.RELEASED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Who works: `name` (host, process, thread) and, under Celery, the task's id."""

    name: str
    task: str | None = None


def settle(
    email: Email, hand_off: HandOff, *, worker: Worker, policy: RetryPolicy, now: datetime, random: Random
) -> Life:
    """The life of a claimed email after one hand-off: recipients, status, next attempt, timeline."""
    life = email.life
    outcomes = {outcome.recipient: outcome for outcome in hand_off.outcomes}
    recipients = _recipients(email, outcomes, now)
    changes = _changes(life, hand_off, worker, now)
    changes["recipients"] = recipients
    status = lifecycle.status_of(recipients, life.status)
    if status is life.status:
        return _again(email, replace(life, **changes), outcomes, policy, now, random)
    ending = Event(event=str(status), at=now, attempt=life.attempts)
    changes["timeline"] = lifecycle.lengthened(changes["timeline"], ending)
    changes["next_attempt_at"] = None
    return lifecycle.move(life, status, **changes)


def _recipients(email: Email, outcomes: Mapping[str, Outcome], now: datetime) -> tuple[Recipient, ...]:
    hold = email.on_uncertain is OnUncertain.HOLD
    return tuple(
        [
            _recipient_after(r, outcomes[r.address], hold, now) if r.status in PENDING and r.address in outcomes else r
            for r in email.life.recipients
        ]
    )


def _recipient_after(recipient: Recipient, outcome: Outcome, hold: bool, now: datetime) -> Recipient:
    if outcome.verdict in NO_ATTEMPT:
        return recipient
    status = _STATUS[outcome.verdict]
    if hold and outcome.verdict is Verdict.UNCERTAIN:
        status = RecipientStatus.UNCERTAIN
    reply = outcome.reply
    return Recipient(
        address=recipient.address,
        kind=recipient.kind,
        status=status,
        smtp_code=reply.code if reply else None,
        enhanced_code=reply.enhanced if reply else None,
        message=reply.text if reply else outcome.message,
        at=now,
    )


def _changes(life: Life, hand_off: HandOff, worker: Worker, now: datetime) -> dict[str, Any]:
    """What the attempt changes in the life, whatever follows from it; all at once, for each copy of a life costs."""
    detail: dict[str, Json] = {"relay": hand_off.relay, "seconds": round(hand_off.seconds, 3), "worker": worker.name}
    if worker.task:
        detail["task"] = worker.task
    verdicts = _counted(hand_off.outcomes)
    detail.update(verdicts)
    event = "attempt"
    changes: dict[str, Any] = {"last_error": None}
    worst = _gravest(hand_off.outcomes)
    if worst is not None:
        event = {Verdict.ROUTE: "relay_unavailable", Verdict.RELEASED: "handed_back"}.get(worst.verdict, event)
        reply = worst.reply
        detail["phase"] = str(worst.phase)
        detail["message"] = f"{reply.code} {reply.text}" if reply else worst.message
        changes = {
            "last_error": life.last_error if worst.verdict is Verdict.RELEASED else _error(worst, now),
            "possible_duplicate": life.possible_duplicate or worst.verdict is Verdict.UNCERTAIN,
        }
    if not verdicts.keys() <= NO_ATTEMPT:
        changes["crash_count"] = 0  # its worker has come through
    if life.sent_at is None and Verdict.ACCEPTED in verdicts:
        changes["sent_at"] = now
    line = Event(event=event, at=now, attempt=life.attempts, detail=detail)
    changes["timeline"] = lifecycle.lengthened(life.timeline, line)
    return changes


def _counted(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many recipients had which verdict."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        verdict = str(outcome.verdict)
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts


def _error(outcome: Outcome, now: datetime) -> LastError:
    reply = outcome.reply
    return LastError(
        kind=str(outcome.verdict),
        message=reply.text if reply else outcome.message,
        smtp_code=reply.code if reply else None,
        enhanced_code=reply.enhanced if reply else None,
        permanent=outcome.verdict in (Verdict.PERMANENT, Verdict.REJECTED),
        at=now,
    )


def _gravest(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The outcome that the attempt is named after; None when all recipients were accepted."""
    found = {o.verdict: o for o in reversed(outcomes) if o.verdict is not Verdict.ACCEPTED}
    return next((found[v] for v in _BY_GRAVITY if v in found), None) if found else None


def _again(
    email: Email, life: Life, outcomes: Mapping[str, Outcome], policy: RetryPolicy, now: datetime, random: Random
) -> Life:
    """Some recipients are still pending: hand back, wait for the relay, back off, or give up."""
    verdicts = {o.verdict for o in outcomes.values()}
    if not verdicts - NO_ATTEMPT:
        again_at = now if verdicts <= {Verdict.RELEASED} else retry.after_route_trouble(policy, now=now, random=random)
        return lifecycle.back_to_queue(replace(life, attempts=life.attempts - 1), again_at)
    if life.attempts >= email.max_attempts:
        return _give_up(life, outcomes, "exhausted", f"gave up after {life.attempts} attempts", now)
    again_at = retry.next_attempt(policy, life.attempts, now=now, random=random)
    if Verdict.UNCERTAIN in verdicts:
        again_at = max(again_at, now + policy.doubt_delay)
    if again_at >= life.expires_at:
        return _give_up(life, outcomes, "expired", "its next attempt would come after its deadline", now)
    waiting = lifecycle.move(life, Status.RETRYING, next_attempt_at=again_at)
    wait: timedelta = again_at - now
    return lifecycle.note(waiting, "retrying", now, {"in_seconds": round(wait.total_seconds(), 1)})


def _give_up(life: Life, outcomes: Mapping[str, Outcome], kind: str, message: str, now: datetime) -> Life:
    """There is no further attempt. What may have been delivered in this one has not failed for sure."""
    in_doubt = {o.recipient for o in outcomes.values() if o.verdict is Verdict.UNCERTAIN}
    if in_doubt:
        return lifecycle.give_up_in_doubt(life, in_doubt, kind, message, now=now)
    return lifecycle.give_up(life, kind, message, now=now)
