"""The time of a store whose clock is the system's, also when that is set."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from postroom.store.sqlite.clock import SystemClock

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


class Host:
    """A host's two clocks, as the test moves them."""

    def __init__(self) -> None:
        self.wall = START.timestamp()
        self.monotonic = 1000.0

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def clock(host: Host) -> SystemClock:
    return SystemClock(wall=lambda: host.wall, monotonic=lambda: host.monotonic)


def test_time_is_the_systems_in_whole_milliseconds(clock: SystemClock, host: Host) -> None:
    assert clock() == START
    host.pass_time(1.2345)
    assert clock() == START + timedelta(milliseconds=1234)


def test_clock_set_forward_is_followed_at_once(clock: SystemClock, host: Host) -> None:
    clock()
    host.wall += 7200
    assert clock() == START + 2 * HOUR


def test_clock_set_back_leaves_time_going_on_at_half_its_pace_until_caught_up(clock: SystemClock, host: Host) -> None:
    clock()
    host.wall -= 7200
    assert clock() == START
    host.pass_time(60)
    assert clock() == START + 30 * SECOND
    host.pass_time(4 * 3600)
    assert clock() == START + 2 * HOUR + 60 * SECOND


@pytest.mark.parametrize("pause", [0.0001, 0.003, 0.7])
def test_pace_is_the_same_however_often_the_time_is_asked_for(clock: SystemClock, host: Host, pause: float) -> None:
    clock()
    host.wall -= 7200
    times = []
    for _ in range(round(21 / pause)):
        host.pass_time(pause)
        times.append(clock())
    assert all(earlier <= later for earlier, later in itertools.pairwise(times))
    assert abs(times[-1] - START - 10.5 * SECOND) <= timedelta(milliseconds=1)


def test_clock_that_is_never_set_keeps_its_whole_pace_where_another_thread_was_quicker(
    clock: SystemClock, host: Host
) -> None:
    host.pass_time(0.005)
    later = clock()
    host.pass_time(-0.002)
    assert clock() == later
    host.pass_time(0.003)
    assert clock() == START + timedelta(milliseconds=6)


def test_clock_set_back_is_logged_once_each_time(
    clock: SystemClock, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        clock()
        host.wall -= 10
        for _ in range(30):
            host.pass_time(1)
            clock()
    assert [(record.getMessage(), vars(record)["seconds"]) for record in caplog.records] == [
        ("clock set back", 9.5)
    ] * 2


def test_small_corrections_are_not_logged(clock: SystemClock, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    clock()
    host.wall -= 0.5
    clock()
    assert not caplog.records
