"""The moves of an email's life, as data, and the moves that people and the sweep make. `settling` has the workers'."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import reduce
from itertools import takewhile

from msgspec.structs import replace

from postroom.errors import WrongState
from postroom.mail.email import (
    PENDING,
    Event,
    Json,
    LastError,
    Life,
    OnUncertain,
    Recipient,
    RecipientStatus,
    Status,
)

S = Status
MOVES: Mapping[Status, frozenset[Status]] = {
    S.SCHEDULED: frozenset({S.SCHEDULED, S.QUEUED, S.SENDING, S.CANCELED, S.FAILED}),
    S.QUEUED: frozenset({S.SENDING, S.CANCELED, S.FAILED, S.SENT, S.UNCERTAIN, S.RETRYING}),
    S.SENDING: frozenset({S.QUEUED, S.RETRYING, S.SENT, S.BOUNCED, S.FAILED, S.UNCERTAIN}),
    S.RETRYING: frozenset({S.SENDING, S.CANCELED, S.FAILED, S.SENT, S.UNCERTAIN}),
    S.SENT: frozenset({S.DELIVERED, S.BOUNCED, S.COMPLAINED}),
    S.DELIVERED: frozenset({S.COMPLAINED, S.BOUNCED}),
    S.BOUNCED: frozenset({S.DELIVERED}),
    S.COMPLAINED: frozenset(),
    S.FAILED: frozenset({S.QUEUED}),
    S.UNCERTAIN: frozenset({S.QUEUED, S.SENT, S.RETRYING, S.UNCERTAIN}),
    S.CANCELED: frozenset({S.QUEUED}),
    S.SUPPRESSED: frozenset(),
}

FINAL = frozenset({S.SENT, S.DELIVERED, S.BOUNCED, S.COMPLAINED, S.FAILED, S.CANCELED, S.SUPPRESSED})
CLAIMABLE = frozenset({S.SCHEDULED, S.QUEUED, S.RETRYING})
CANCELABLE = CLAIMABLE
RETRYABLE = frozenset({S.FAILED, S.UNCERTAIN, S.CANCELED})
LATE_SUCCESS_FROM = frozenset({S.QUEUED, S.RETRYING, S.UNCERTAIN})

TIMELINE_LIMIT = 50
CRASHES_ALLOWED = 3


def move(life: Life, to: Status, /, **changes: object) -> Life:
    """Returns the life with its new status; a move that is not in `MOVES` is a bug and raises `WrongState`."""
    if to not in MOVES[life.status]:
        raise WrongState(f"make {to}", life.status)
    changes["status"] = to
    return replace(life, **changes)


def note(life: Life, event: str, at: datetime, detail: Mapping[str, Json] | None = None) -> Life:
    """Appends one event to the life's timeline; see `lengthened`."""
    line = Event(event=event, at=at, attempt=life.attempts, detail=dict(detail or {}))
    return replace(life, timeline=lengthened(life.timeline, line))


def lengthened(timeline: tuple[Event, ...], line: Event) -> tuple[Event, ...]:
    """The timeline with one more event, which is not earlier than the last: clocks of hosts differ by a bit. Equal
    neighbours fold into one with a `count`; the first and the newest 49 are kept."""
    if timeline and line.at < timeline[-1].at:
        line = replace(line, at=timeline[-1].at)
    last = timeline[-1] if len(timeline) > 1 else None
    if last is not None and _same(last, line):
        count = last.detail.get("count", 1)
        line = replace(line, detail={**line.detail, "count": (count if isinstance(count, int) else 1) + 1})
        timeline = timeline[:-1]
    if len(timeline) >= TIMELINE_LIMIT:
        timeline = (timeline[0], *timeline[2 - TIMELINE_LIMIT :])
    return (*timeline, line)


def _same(a: Event, b: Event) -> bool:
    """Whether two events differ in nothing but time, attempt, duration and task."""
    if a.event != b.event:
        return False
    fleeting = {"count", "seconds", "task"}
    strip = [{k: v for k, v in e.detail.items() if k not in fleeting} for e in (a, b)]
    return strip[0] == strip[1]


def due_at(life: Life) -> datetime | None:
    """When an email that waits is due; None for one that does not wait. Raises `ValueError` where it is not known."""
    if life.status not in CLAIMABLE:
        return None
    if life.next_attempt_at is None:
        raise ValueError(f"an email that is {life.status} needs the time of its next attempt")
    return life.next_attempt_at


def release(life: Life, *, now: datetime) -> Life:
    """A scheduled email has come due: it becomes queued."""
    return note(move(life, S.QUEUED), "queued", now)


def cancel(life: Life, *, now: datetime) -> Life:
    """Calls an email back that no worker holds. Raises `WrongState` in every other state."""
    if life.status not in CANCELABLE:
        raise WrongState("cancel", life.status)
    recipients = _pending_become(life, RecipientStatus.CANCELED, now)
    return note(move(life, S.CANCELED, recipients=recipients, next_attempt_at=None), "canceled", now)


def reschedule(life: Life, at: datetime, *, now: datetime) -> Life:
    """Moves a scheduled email to another time; a time that has passed means now. Raises `WrongState` otherwise."""
    if life.status is not S.SCHEDULED:
        raise WrongState("reschedule", life.status)
    to = S.SCHEDULED if at > now else S.QUEUED
    at = max(at, now)
    patience = life.expires_at - (life.scheduled_at or at)
    moved = move(life, to, scheduled_at=at, next_attempt_at=at, expires_at=at + patience)
    return note(moved, str(to), now, {"scheduled_at": at.isoformat()})


def retry(life: Life, *, now: datetime, max_age: timedelta) -> Life:
    """Starts a failed, uncertain or canceled email anew, by hand: fresh attempts, fresh deadline, and only for the
    recipients that neither took it nor refused it for good. Raises `WrongState` in every other state."""
    if life.status not in RETRYABLE:
        raise WrongState("retry", life.status)
    again = {RecipientStatus.FAILED, RecipientStatus.UNCERTAIN, RecipientStatus.CANCELED}
    recipients = tuple(
        replace(r, status=RecipientStatus.QUEUED, at=now) if r.status in again else r for r in life.recipients
    )
    doubt = life.possible_duplicate or life.status is S.UNCERTAIN
    fresh = move(
        life,
        S.QUEUED,
        recipients=recipients,
        scheduled_at=min(life.scheduled_at, now) if life.scheduled_at else None,
        next_attempt_at=now,
        expires_at=now + max_age,
        attempts=0,
        crash_count=0,
        possible_duplicate=doubt,
        last_error=None,
    )
    return note(fresh, "retried_by_hand", now)


def expire(life: Life, *, now: datetime) -> Life:
    """The email's deadline has passed while it waited: what is still pending has failed."""
    return give_up(life, "expired", "not sent before its deadline", now=now)


def give_up(life: Life, kind: str, message: str, *, now: datetime) -> Life:
    """Stops trying: pending recipients have failed for the stated reason. The email is `sent` if others took it."""
    recipients = _pending_become(life, RecipientStatus.FAILED, now, message=message)
    last = life.last_error
    error = LastError(
        kind=kind,
        message=message if last is None else f"{message}; before that: {last.message}",
        smtp_code=last.smtp_code if last else None,
        enhanced_code=last.enhanced_code if last else None,
        permanent=True,
        at=now,
    )
    gone = move(life, status_of(recipients, life.status), recipients=recipients, next_attempt_at=None, last_error=error)
    return note(gone, "failed", now, {"reason": kind, "message": message})


def give_up_in_doubt(life: Life, in_doubt: Collection[str], kind: str, message: str, *, now: datetime) -> Life:
    """Stops trying after an attempt in which these addresses may have got the email: they are uncertain, and so is the
    email; other pending recipients have failed."""
    held = replace(life, recipients=_pending_become(life, RecipientStatus.UNCERTAIN, now, only=in_doubt))
    recipients = _pending_become(held, RecipientStatus.FAILED, now, message=message)
    gone = move(held, status_of(recipients, life.status), recipients=recipients, next_attempt_at=None)
    return note(gone, "uncertain", now, {"reason": kind, "message": message})


def is_suspect(life: Life) -> bool:
    """Whether one more crash makes it failed, so that it should meet that alone."""
    return life.crash_count >= CRASHES_ALLOWED - 1


def give_back(life: Life, *, now: datetime, reason: str) -> Life:
    """A claim that nobody began to work on ends: the email goes back at once, and no attempt was spent."""
    back = note(life, "handed_back", now, {"message": reason})
    return back_to_queue(replace(back, attempts=life.attempts - 1), now)


def back_to_queue(life: Life, again_at: datetime) -> Life:
    """An attempt ends that says nothing about the email: it waits in the status that it had before."""
    tried = any(r.status is RecipientStatus.RETRYING for r in life.recipients)
    return move(life, S.RETRYING if tried else S.QUEUED, next_attempt_at=again_at)


def lapse_before_fence(life: Life, *, now: datetime, again_at: datetime, worker: str) -> Life:
    """A claim ran out before the final dot: surely not delivered, so it goes back, and the crash is counted; the third
    crash makes it failed, as an email that breaks whoever takes it."""
    counted = replace(life, crash_count=life.crash_count + 1)
    counted = note(counted, "claim_lapsed", now, {"worker": worker, "crashes": counted.crash_count})
    if counted.crash_count >= CRASHES_ALLOWED:
        return give_up(counted, "poison", f"its worker crashed {CRASHES_ALLOWED} times in a row", now=now)
    return move(counted, S.QUEUED, next_attempt_at=again_at)


def lapse_after_fence(
    life: Life, *, now: datetime, again_at: datetime, worker: str, on_uncertain: OnUncertain, max_attempts: int
) -> Life:
    """A claim ran out after the final dot may have been written: flagged, then sent again or held, as its sender
    chose; held as well where there is no further attempt, and after the third crash in a row, or an email that breaks
    whoever sends it would go out again and again."""
    crashes = life.crash_count + 1
    error = LastError(
        kind="uncertain",
        message="its worker crashed or froze after the final dot",
        smtp_code=None,
        enhanced_code=None,
        permanent=False,
        at=now,
    )
    doubtful = replace(life, possible_duplicate=True, crash_count=crashes, last_error=error)
    doubtful = note(doubtful, "outcome_unknown", now, {"worker": worker, "crashes": crashes})
    was_last = crashes >= CRASHES_ALLOWED or life.attempts >= max_attempts or again_at >= life.expires_at
    if on_uncertain is OnUncertain.RESEND and not was_last:
        return move(doubtful, S.QUEUED, next_attempt_at=again_at)
    recipients = _pending_become(doubtful, RecipientStatus.UNCERTAIN, now, message="may have been delivered")
    return move(doubtful, S.UNCERTAIN, recipients=recipients, next_attempt_at=None)


def succeed_late(life: Life, late: Life) -> Life | None:
    """A worker thought dead got a 2xx after its claim had lapsed: what it made of the life that it had claimed, `late`,
    takes the place of the one that began with the lapse, whose timeline goes on. None where others were faster."""
    if life.status not in LATE_SUCCESS_FROM:
        return None
    told = takewhile(lambda line: line not in life.timeline, reversed(late.timeline))
    came_to = replace(
        late,
        status=life.status,
        scheduled_at=life.scheduled_at,
        expires_at=life.expires_at,
        possible_duplicate=True,
        timeline=reduce(lengthened, reversed([*told]), life.timeline),
    )
    return move(came_to, late.status)


def status_of(recipients: tuple[Recipient, ...], otherwise: Status) -> Status:
    """The email's status computed from its recipients'; `otherwise` while some are still pending."""
    states = {r.status for r in recipients}
    if not states.isdisjoint(PENDING):
        return otherwise
    for recipient_status, status in _BY_WEIGHT:
        if recipient_status in states:
            return status
    return otherwise


_R = RecipientStatus
_BY_WEIGHT = (  # the first that any recipient has decides
    (_R.UNCERTAIN, S.UNCERTAIN),
    (_R.COMPLAINED, S.COMPLAINED),
    (_R.DELIVERED, S.DELIVERED),
    (_R.SENT, S.SENT),
    (_R.CANCELED, S.CANCELED),
    (_R.FAILED, S.FAILED),
    (_R.BOUNCED, S.BOUNCED),
    (_R.SUPPRESSED, S.SUPPRESSED),
)


def _pending_become(
    life: Life,
    status: RecipientStatus,
    now: datetime,
    *,
    message: str | None = None,
    only: Collection[str] | None = None,
) -> tuple[Recipient, ...]:
    return tuple(
        replace(r, status=status, at=now, message=message or r.message)
        if r.status in PENDING and (only is None or r.address in only)
        else r
        for r in life.recipients
    )
