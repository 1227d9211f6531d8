"""From the outcomes of an attempt to the email's new life: what each verdict means for a recipient, and when to try
again. Pure; `deliver` writes the result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from postroom.mail import lifecycle, retry
from postroom.mail.email import Email, Json, LastError, Life, OnUncertain, Recipient, RecipientStatus, Status
from postroom.mail.outcome import HandOff, Outcome, Verdict
from postroom.mail.retry import Random, RetryPolicy

FREE = frozenset({Verdict.ROUTE, Verdict.RELEASED})  # they say nothing about the email and cost no attempt
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
    outcomes = {outcome.recipient: outcome for outcome in hand_off.outcomes}
    took = any(o.verdict is Verdict.ACCEPTED for o in hand_off.outcomes)
    sent_at = email.life.sent_at or (now if took else None)
    life = replace(email.life, recipients=_recipients(email, outcomes, now), sent_at=sent_at)
    if any(o.verdict not in FREE for o in hand_off.outcomes):
        life = replace(life, crash_count=0)  # its worker has come through
    life = _note_attempt(life, hand_off, worker, now)
    if life.pending:
        return _again(email, life, outcomes, policy, now, random)
    status = lifecycle.status_of(life.recipients, life.status)
    ended = lifecycle.move(life, status, next_attempt_at=None)
    return lifecycle.note(ended, str(status), now)


def _recipients(email: Email, outcomes: Mapping[str, Outcome], now: datetime) -> tuple[Recipient, ...]:
    hold = email.on_uncertain is OnUncertain.HOLD
    pending = set(email.life.pending)
    return tuple(
        _recipient_after(r, outcomes[r.address], hold, now) if r in pending and r.address in outcomes else r
        for r in email.life.recipients
    )


def _recipient_after(recipient: Recipient, outcome: Outcome, hold: bool, now: datetime) -> Recipient:
    if outcome.verdict in FREE:
        return recipient
    status = _STATUS[outcome.verdict]
    if outcome.verdict is Verdict.UNCERTAIN and hold:
        status = RecipientStatus.UNCERTAIN
    reply = outcome.reply
    return replace(
        recipient,
        status=status,
        smtp_code=reply.code if reply else None,
        enhanced_code=reply.enhanced if reply else None,
        message=reply.text if reply else outcome.message,
        at=now,
    )


def _note_attempt(life: Life, hand_off: HandOff, worker: Worker, now: datetime) -> Life:
    verdicts = Counter(str(o.verdict) for o in hand_off.outcomes)
    worst = _gravest(hand_off.outcomes)
    detail: dict[str, Json] = {"relay": hand_off.relay, "seconds": round(hand_off.seconds, 3), "worker": worker.name}
    if worker.task:
        detail["task"] = worker.task
    detail.update(verdicts)
    if worst is None:
        return lifecycle.note(replace(life, last_error=None), "attempt", now, detail)
    reply = worst.reply
    detail["phase"] = str(worst.phase)
    detail["message"] = f"{reply.code} {reply.text}" if reply else worst.message
    event = {Verdict.ROUTE: "relay_unavailable", Verdict.RELEASED: "handed_back"}.get(worst.verdict, "attempt")
    error = LastError(
        kind=str(worst.verdict),
        message=reply.text if reply else worst.message,
        smtp_code=reply.code if reply else None,
        enhanced_code=reply.enhanced if reply else None,
        permanent=worst.verdict in (Verdict.PERMANENT, Verdict.REJECTED),
        at=now,
    )
    kept = life.last_error if worst.verdict is Verdict.RELEASED else error
    doubt = life.possible_duplicate or worst.verdict is Verdict.UNCERTAIN
    return lifecycle.note(replace(life, last_error=kept, possible_duplicate=doubt), event, now, detail)


def _gravest(outcomes: Sequence[Outcome]) -> Outcome | None:
    found = {o.verdict: o for o in reversed(outcomes)}
    return next((found[v] for v in _BY_GRAVITY if v in found), None)


def _again(
    email: Email, life: Life, outcomes: Mapping[str, Outcome], policy: RetryPolicy, now: datetime, random: Random
) -> Life:
    """Some recipients are still pending: hand back, wait for the relay, back off, or give up."""
    verdicts = {o.verdict for o in outcomes.values()}
    if not verdicts - FREE:
        again_at = now if verdicts <= {Verdict.RELEASED} else retry.after_route_trouble(policy, now=now, random=random)
        return _back(replace(life, attempts=life.attempts - 1), again_at)
    if life.attempts >= email.max_attempts:
        return lifecycle.give_up(life, "exhausted", f"gave up after {life.attempts} attempts", now=now)
    again_at = retry.next_attempt(policy, life.attempts, now=now, random=random)
    if Verdict.UNCERTAIN in verdicts:
        again_at = max(again_at, now + policy.doubt_delay)
    if again_at >= life.expires_at:
        return lifecycle.give_up(life, "expired", "its next attempt would come after its deadline", now=now)
    waiting = lifecycle.move(life, Status.RETRYING, next_attempt_at=again_at)
    wait: timedelta = again_at - now
    return lifecycle.note(waiting, "retrying", now, {"in_seconds": round(wait.total_seconds(), 1)})


def _back(life: Life, again_at: datetime) -> Life:
    tried = any(r.status is RecipientStatus.RETRYING for r in life.recipients)
    return lifecycle.move(life, Status.RETRYING if tried else Status.QUEUED, next_attempt_at=again_at)
