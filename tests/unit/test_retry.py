"""The retry arithmetic."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mail import milliseconds, retry
from tests import make

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = make.retry_policy()


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 60), (2, 120), (3, 240), (8, 7680), (9, 14_400), (1000, 14_400)])
def test_pause_doubles_up_to_the_cap(attempt: int, seconds: int) -> None:
    almost_one = 1 - 2**-53
    at = retry.next_attempt(POLICY, attempt, now=NOW, random=lambda: almost_one)
    assert abs((at - NOW).total_seconds() - seconds) < 0.002


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_half_and_whole_pause(attempt: int, chance: float) -> None:
    pause = retry.next_attempt(POLICY, attempt, now=NOW, random=lambda: chance) - NOW
    whole = min(POLICY.base * 2 ** min(attempt - 1, 20), POLICY.cap)
    assert whole / 2 - timedelta(milliseconds=1) <= pause <= whole


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_cut_to_whole_milliseconds(moment: datetime) -> None:
    cut = milliseconds.cut(moment)
    assert cut.microsecond % 1000 == 0
    assert timedelta(0) <= moment - cut < timedelta(milliseconds=1)


def test_route_trouble_has_its_own_short_pause() -> None:
    at = retry.after_route_trouble(POLICY, now=NOW, random=lambda: 0.0)
    assert at - NOW == POLICY.route_delay / 2
