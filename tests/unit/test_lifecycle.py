"""The moves of an email's life, one by one, and what holds after any series of them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from postroom.errors import WrongState
from postroom.mail import lifecycle
from postroom.mail.email import PENDING, LastError, Life, OnUncertain, Recipient, RecipientStatus, Status
from postroom.mail.lifecycle import CLAIMABLE, FINAL, MOVES, RETRYABLE, TIMELINE_LIMIT
from tests import make
from tests.make import HOUR, SECOND

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
R = RecipientStatus


def life(status: Status, *recipients: RecipientStatus, **changes: object) -> Life:
    """A life in this status with one recipient in each of these, or one that is queued."""
    addresses = [f"{i}@example.com" for i in range(len(recipients) or 1)]
    fresh = make.new_life(NOW, addresses, status=status, **changes)
    states = zip(fresh.recipients, recipients or (R.QUEUED,), strict=True)
    return replace(fresh, recipients=tuple(replace(r, status=s) for r, s in states))


def states(of: Life) -> list[RecipientStatus]:
    return [recipient.status for recipient in of.recipients]


@pytest.mark.parametrize("status", Status)
def test_move_follows_the_table_and_nothing_else(status: Status) -> None:
    for to in Status:
        if to in MOVES[status]:
            assert lifecycle.move(life(status), to).status is to
        else:
            with pytest.raises(WrongState, match=status):
                lifecycle.move(life(status), to)


def test_sets_of_statuses_agree_with_the_table() -> None:
    assert {s for s in Status if Status.SENDING in MOVES[s]} == CLAIMABLE
    assert {s for s in Status if Status.CANCELED in MOVES[s]} == lifecycle.CANCELABLE
    assert not FINAL & (CLAIMABLE | {Status.SENDING, Status.UNCERTAIN})
    assert FINAL | CLAIMABLE | {Status.SENDING, Status.UNCERTAIN} == set(Status)
    assert all(Status.QUEUED in MOVES[s] for s in RETRYABLE)


# -- the timeline


def test_note_appends_an_event_with_the_attempt() -> None:
    noted = lifecycle.note(life(Status.SENDING, attempts=2), "attempt", NOW, {"relay": "r"})
    [event] = noted.timeline
    assert (event.event, event.at, event.attempt, event.detail) == ("attempt", NOW, 2, {"relay": "r"})


def test_equal_neighbours_fold_into_one_with_a_count() -> None:
    noted = lifecycle.note(life(Status.QUEUED), "queued", NOW)
    for number in range(4):
        noted = lifecycle.note(noted, "attempt", NOW + number * SECOND, {"relay": "r", "seconds": number})
    assert [event.event for event in noted.timeline] == ["queued", "attempt"]
    assert noted.timeline[1].detail == {"relay": "r", "seconds": 3, "count": 4}
    assert noted.timeline[1].at == NOW + 3 * SECOND


def test_different_neighbours_stay_apart() -> None:
    noted = lifecycle.note(life(Status.QUEUED), "queued", NOW)
    for relay in ("a", "b", "a"):
        noted = lifecycle.note(noted, "attempt", NOW, {"relay": relay})
    assert len(noted.timeline) == 4


def test_count_that_is_no_number_begins_anew() -> None:
    noted = lifecycle.note(life(Status.QUEUED), "queued", NOW)
    for count in ("many", "many"):
        noted = lifecycle.note(noted, "attempt", NOW, {"count": count})
    assert noted.timeline[-1].detail == {"count": 2}


def test_timeline_never_goes_back_in_time() -> None:
    noted = lifecycle.note(lifecycle.note(life(Status.QUEUED), "queued", NOW + SECOND), "canceled", NOW)
    assert [line.at for line in noted.timeline] == [NOW + SECOND, NOW + SECOND]


def test_long_timeline_keeps_its_first_and_its_newest_events() -> None:
    noted = life(Status.QUEUED)
    for number in range(3 * TIMELINE_LIMIT):
        noted = lifecycle.note(noted, f"event {number}", NOW)
    assert len(noted.timeline) == TIMELINE_LIMIT
    assert noted.timeline[0].event == "event 0"
    assert noted.timeline[1].event == f"event {2 * TIMELINE_LIMIT + 1}"
    assert noted.timeline[-1].event == f"event {3 * TIMELINE_LIMIT - 1}"


# -- what senders ask for


def test_due_email_is_released_once() -> None:
    released = lifecycle.release(life(Status.SCHEDULED), now=NOW)
    assert released.status is Status.QUEUED
    with pytest.raises(WrongState):
        lifecycle.release(released, now=NOW)


def test_cancel_ends_what_is_pending_and_nothing_else() -> None:
    canceled = lifecycle.cancel(life(Status.RETRYING, R.SENT, R.RETRYING, R.QUEUED), now=NOW)
    assert canceled.status is Status.CANCELED
    assert states(canceled) == [R.SENT, R.CANCELED, R.CANCELED]
    assert canceled.next_attempt_at is None


@pytest.mark.parametrize("status", sorted(set(Status) - lifecycle.CANCELABLE))
def test_cancel_is_refused_in_every_other_state(status: Status) -> None:
    with pytest.raises(WrongState, match="cancel"):
        lifecycle.cancel(life(status), now=NOW)


def test_reschedule_moves_the_deadline_along() -> None:
    due = NOW + HOUR
    waiting = life(Status.SCHEDULED, scheduled_at=due, next_attempt_at=due, expires_at=due + 72 * HOUR)
    moved = lifecycle.reschedule(waiting, NOW + 5 * HOUR, now=NOW)
    assert (moved.status, moved.scheduled_at, moved.next_attempt_at) == (Status.SCHEDULED, *[NOW + 5 * HOUR] * 2)
    assert moved.expires_at == NOW + 77 * HOUR


def test_reschedule_to_the_past_means_now() -> None:
    due = NOW + HOUR
    waiting = life(Status.SCHEDULED, scheduled_at=due, next_attempt_at=due, expires_at=due + 72 * HOUR)
    moved = lifecycle.reschedule(waiting, NOW - HOUR, now=NOW)
    assert (moved.status, moved.next_attempt_at, moved.expires_at) == (Status.QUEUED, NOW, NOW + 72 * HOUR)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.SCHEDULED}))
def test_reschedule_is_refused_in_every_other_state(status: Status) -> None:
    with pytest.raises(WrongState, match="reschedule"):
        lifecycle.reschedule(life(status), NOW, now=NOW)


@pytest.mark.parametrize("status", sorted(RETRYABLE))
def test_retry_by_hand_starts_anew_for_those_who_did_not_get_it(status: Status) -> None:
    before = [R.SENT, R.DELIVERED, R.COMPLAINED, R.BOUNCED, R.SUPPRESSED, R.FAILED, R.UNCERTAIN, R.CANCELED]
    error = LastError(kind="expired", message="m", smtp_code=None, enhanced_code=None, permanent=True, at=NOW)
    old = life(status, *before, attempts=9, crash_count=2, next_attempt_at=None, last_error=error)
    fresh = lifecycle.retry(old, now=NOW + HOUR, max_age=HOUR)
    assert fresh.status is Status.QUEUED
    assert states(fresh) == [*before[:5], R.QUEUED, R.QUEUED, R.QUEUED]
    assert (fresh.attempts, fresh.crash_count, fresh.last_error) == (0, 0, None)
    assert (fresh.next_attempt_at, fresh.expires_at) == (NOW + HOUR, NOW + 2 * HOUR)
    assert fresh.possible_duplicate is (status is Status.UNCERTAIN)


@pytest.mark.parametrize(("scheduled", "after"), [(None, None), (-HOUR, -HOUR), (2 * HOUR, HOUR)])
def test_retry_by_hand_waits_for_no_schedule(scheduled: timedelta | None, after: timedelta | None) -> None:
    old = life(Status.CANCELED, R.CANCELED, scheduled_at=None if scheduled is None else NOW + scheduled)
    fresh = lifecycle.retry(old, now=NOW + HOUR, max_age=HOUR)
    assert fresh.scheduled_at == (None if after is None else NOW + after)


@pytest.mark.parametrize("status", sorted(set(Status) - RETRYABLE))
def test_retry_by_hand_is_refused_in_every_other_state(status: Status) -> None:
    with pytest.raises(WrongState, match="retry"):
        lifecycle.retry(life(status), now=NOW, max_age=HOUR)


# -- giving up, and lapsed claims


@pytest.mark.parametrize(
    ("before", "status"),
    [
        ([R.QUEUED, R.RETRYING], Status.FAILED),
        ([R.SENT, R.RETRYING], Status.SENT),
        ([R.BOUNCED, R.RETRYING], Status.FAILED),
        ([R.UNCERTAIN, R.RETRYING], Status.UNCERTAIN),
    ],
)
@pytest.mark.parametrize("waiting", [Status.QUEUED, Status.RETRYING])
def test_expired_email_has_failed_unless_somebody_may_have_got_it(
    waiting: Status, before: list[RecipientStatus], status: Status
) -> None:
    expired = lifecycle.expire(life(waiting, *before), now=NOW)
    assert expired.status is status
    assert states(expired) == [R.FAILED if state in PENDING else state for state in before]
    assert expired.last_error
    assert (expired.last_error.kind, expired.last_error.permanent) == ("expired", True)
    assert expired.next_attempt_at is None


def test_giving_up_keeps_the_last_reply() -> None:
    error = LastError(kind="transient", message="busy", smtp_code=451, enhanced_code="4.3.0", permanent=False, at=NOW)
    gone = lifecycle.give_up(life(Status.SENDING, last_error=error), "exhausted", "too often", now=NOW + SECOND)
    assert gone.last_error == replace(
        error, kind="exhausted", message="too often; before that: busy", permanent=True, at=NOW + SECOND
    )


def test_lapse_before_the_fence_costs_nothing_but_a_crash() -> None:
    back = lifecycle.lapse_before_fence(life(Status.SENDING, attempts=1), now=NOW, again_at=NOW + SECOND, worker="w")
    assert (back.status, back.crash_count, back.attempts) == (Status.QUEUED, 1, 1)
    assert back.next_attempt_at == NOW + SECOND
    assert not back.possible_duplicate


def test_last_crash_allowed_makes_it_failed() -> None:
    worn = life(Status.SENDING, crash_count=lifecycle.CRASHES_ALLOWED - 1)
    gone = lifecycle.lapse_before_fence(worn, now=NOW, again_at=NOW, worker="w")
    assert gone.status is Status.FAILED
    assert gone.last_error
    assert gone.last_error.kind == "poison"


def lapsed_after_the_fence(before: Life, *, on_uncertain: OnUncertain = OnUncertain.RESEND) -> Life:
    return lifecycle.lapse_after_fence(
        before, now=NOW, again_at=NOW + HOUR, worker="w", on_uncertain=on_uncertain, max_attempts=25
    )


@pytest.mark.parametrize(
    ("choice", "status", "recipient", "again_at"),
    [
        (OnUncertain.RESEND, Status.QUEUED, R.QUEUED, NOW + HOUR),
        (OnUncertain.HOLD, Status.UNCERTAIN, R.UNCERTAIN, None),
    ],
)
def test_lapse_after_the_fence_is_flagged_and_goes_as_its_sender_chose(
    choice: OnUncertain, status: Status, recipient: RecipientStatus, again_at: datetime | None
) -> None:
    doubtful = lapsed_after_the_fence(life(Status.SENDING), on_uncertain=choice)
    assert (doubtful.possible_duplicate, doubtful.crash_count) == (True, 1)
    assert doubtful.last_error
    assert (doubtful.last_error.kind, doubtful.last_error.permanent) == ("uncertain", False)
    assert (doubtful.status, states(doubtful), doubtful.next_attempt_at) == (status, [recipient], again_at)


def test_last_crash_allowed_is_not_followed_by_another_copy() -> None:
    worn = life(Status.SENDING, crash_count=lifecycle.CRASHES_ALLOWED - 1)
    held = lapsed_after_the_fence(worn)
    assert (held.status, states(held), held.next_attempt_at) == (Status.UNCERTAIN, [R.UNCERTAIN], None)


@pytest.mark.parametrize("last", [{"attempts": 25}, {"expires_at": NOW + HOUR}], ids=["attempts", "age"])
def test_last_attempt_that_lapsed_after_the_fence_has_neither_failed_nor_is_followed_by_another(last: Any) -> None:
    held = lapsed_after_the_fence(life(Status.SENDING, **last))
    assert (held.status, states(held), held.next_attempt_at) == (Status.UNCERTAIN, [R.UNCERTAIN], None)
    assert held.possible_duplicate


def test_late_success_goes_on_with_the_life_that_began_meanwhile() -> None:
    before = life(Status.SENDING, attempts=1)
    late = lifecycle.note(replace(before, status=Status.SENT, next_attempt_at=None), "sent", NOW)
    lapsed = lapsed_after_the_fence(before, on_uncertain=OnUncertain.HOLD)
    again = lifecycle.retry(lapsed, now=NOW + HOUR, max_age=HOUR)
    ended = lifecycle.succeed_late(again, late)
    assert ended
    assert (ended.status, ended.possible_duplicate, ended.expires_at) == (Status.SENT, True, again.expires_at)
    lines = [(line.event, line.at) for line in ended.timeline]
    assert lines == [("outcome_unknown", NOW), ("retried_by_hand", NOW + HOUR), ("sent", NOW + HOUR)]


@pytest.mark.parametrize("status", sorted(set(Status) - lifecycle.LATE_SUCCESS_FROM))
def test_late_success_comes_too_late_where_others_were_faster(status: Status) -> None:
    assert lifecycle.succeed_late(life(status), life(Status.SENT)) is None


# -- the status of the whole


@pytest.mark.parametrize("pending", sorted(PENDING))
@pytest.mark.parametrize("other", RecipientStatus)
def test_status_stays_while_a_recipient_is_pending(pending: RecipientStatus, other: RecipientStatus) -> None:
    assert lifecycle.status_of(life(Status.SENDING, other, pending).recipients, Status.SENDING) is Status.SENDING


@pytest.mark.parametrize("state", sorted(set(RecipientStatus) - PENDING))
def test_recipients_of_one_mind_give_their_status(state: RecipientStatus) -> None:
    assert lifecycle.status_of(life(Status.SENDING, state, state).recipients, Status.SENDING) == state


def test_heavier_state_decides_and_nobody_decides_for_none() -> None:
    weights = [R.UNCERTAIN, R.COMPLAINED, R.DELIVERED, R.SENT, R.CANCELED, R.FAILED, R.BOUNCED, R.SUPPRESSED]
    for heavier, lighter in pairwise(weights):
        assert lifecycle.status_of(life(Status.SENDING, lighter, heavier).recipients, Status.SENDING) == heavier
    nobody: tuple[Recipient, ...] = ()
    assert lifecycle.status_of(nobody, Status.SENDING) is Status.SENDING
