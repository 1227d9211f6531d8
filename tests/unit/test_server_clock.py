"""A server's clock as one process keeps it."""

from datetime import UTC, datetime

import pytest

from postroom.errors import StoreUnavailable
from postroom.store.server_clock import GOOD_FOR_SECONDS, ServerClock

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


class Monotonic:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def clock(monotonic: Monotonic) -> ServerClock:
    """A clock that has just learnt that it is the beginning of 2026."""
    clock = ServerClock(monotonic=monotonic)
    clock.learn(START, asked_at=monotonic.seconds, answered_at=monotonic.seconds)
    return clock


def test_time_is_unknown_before_the_server_was_asked(monotonic: Monotonic) -> None:
    clock = ServerClock(monotonic=monotonic)
    assert clock.stale
    assert not clock.known
    with pytest.raises(StoreUnavailable):
        clock()


def test_time_goes_on_with_the_monotonic_clock_in_whole_milliseconds(clock: ServerClock, monotonic: Monotonic) -> None:
    monotonic.seconds += 1.2345
    assert clock() == datetime(2026, 1, 1, 0, 0, 1, 234_000, tzinfo=UTC)


def test_difference_is_measured_again_after_a_while(clock: ServerClock, monotonic: Monotonic) -> None:
    monotonic.seconds += GOOD_FOR_SECONDS - 1
    assert not clock.stale
    monotonic.seconds += 2
    assert clock.stale


def test_server_was_asked_in_the_middle_of_the_round_trip(clock: ServerClock, monotonic: Monotonic) -> None:
    clock.learn(START + 60, asked_at=monotonic.seconds, answered_at=monotonic.seconds + 0.5)
    monotonic.seconds += 0.5
    assert clock().timestamp() == START + 60.25


@pytest.mark.parametrize("server_asked_after", [0, 60])
def test_answer_that_a_stopped_process_takes_in_late_is_not_believed(
    clock: ServerClock, monotonic: Monotonic, server_asked_after: float
) -> None:
    monotonic.seconds += 20
    asked_at = monotonic.seconds
    monotonic.seconds += 60
    clock.learn(START + 20 + server_asked_after, asked_at=asked_at, answered_at=monotonic.seconds)
    assert clock().timestamp() == START + 80
    assert clock.stale


def test_first_answer_is_believed_however_late_but_only_as_far_as_it_is_sure(monotonic: Monotonic) -> None:
    clock = ServerClock(monotonic=monotonic)
    asked_at = monotonic.seconds
    monotonic.seconds += 60
    clock.learn(START, asked_at=asked_at, answered_at=monotonic.seconds)
    assert clock().timestamp() == START
    assert clock.stale
    clock.learn(START + 30, asked_at=monotonic.seconds, answered_at=monotonic.seconds)
    assert clock().timestamp() == START + 30
    assert not clock.stale


def test_time_goes_on_at_half_its_pace_rather_than_going_back(clock: ServerClock, monotonic: Monotonic) -> None:
    monotonic.seconds += 100
    before = clock()
    clock.learn(START + 40, asked_at=monotonic.seconds, answered_at=monotonic.seconds)
    assert clock() == before
    monotonic.seconds += 50
    assert clock().timestamp() == START + 125
    monotonic.seconds += 100
    assert clock().timestamp() == START + 190


def test_claims_lapse_by_the_clock_as_it_was_set_back(clock: ServerClock, monotonic: Monotonic) -> None:
    monotonic.seconds += 100
    assert clock.as_set() == clock()
    clock.learn(START + 40, asked_at=monotonic.seconds, answered_at=monotonic.seconds)
    monotonic.seconds += 50
    assert clock.as_set().timestamp() == START + 90
    assert clock().timestamp() == START + 125
