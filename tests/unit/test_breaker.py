"""When the relay is left alone, for how long, and how that ends."""

import logging

import pytest

from postroom.transport.breaker import Breaker, State


def make(jitter: float = 0.5) -> Breaker:
    """A breaker whose rests are exactly 5, 10, 20, 40, 60 s, unless another jitter is asked for."""
    return Breaker("smtp://relay.example:587", random=lambda: jitter)


def open_up(breaker: Breaker, now: float = 0.0) -> None:
    for _ in range(3):
        breaker.failed(now, "connection refused")


def test_new_breaker_admits_and_does_not_rest() -> None:
    breaker = make()
    assert breaker.admit(0.0)
    assert breaker.resting(0.0) == 0.0


def test_two_failures_in_a_row_do_not_open_it() -> None:
    breaker = make()
    breaker.failed(0.0, "refused")
    breaker.failed(0.0, "refused")
    assert breaker.state is State.CLOSED


def test_three_failures_in_a_row_open_it_for_five_seconds() -> None:
    breaker = make()
    open_up(breaker, now=100.0)
    assert breaker.resting(100.0) == pytest.approx(5.0)
    assert breaker.resting(103.0) == pytest.approx(2.0)
    assert not breaker.admit(104.9)


def test_a_connection_in_between_starts_the_count_anew() -> None:
    breaker = make()
    for _ in range(5):
        breaker.failed(0.0, "refused")
        breaker.failed(0.0, "refused")
        breaker.connected()
    assert breaker.state is State.CLOSED


def test_lasting_failure_opens_it_at_once() -> None:
    breaker = make()
    breaker.failed(0.0, "password refused", lasting=True)
    assert breaker.state is State.OPEN


def test_exactly_one_probe_after_the_rest() -> None:
    breaker = make()
    open_up(breaker)
    assert breaker.resting(5.0) == 0.0
    assert breaker.admit(5.0)
    assert not breaker.admit(5.0)
    assert breaker.resting(5.0) == 0.0  # others wait for what the probe finds rather than give up


def test_failed_probe_doubles_the_rest_up_to_a_minute() -> None:
    breaker, now, rests = make(), 0.0, []
    open_up(breaker)
    for _ in range(7):
        rests.append(round(breaker.resting(now), 6))
        now += rests[-1]
        assert breaker.admit(now)
        breaker.failed(now, "still down")
    assert rests == [5, 10, 20, 40, 60, 60, 60]


@pytest.mark.parametrize(("jitter", "expected"), [(0.0, 3.75), (0.999999, 6.25)])
def test_rest_has_jitter_of_a_quarter_either_way(jitter: float, expected: float) -> None:
    breaker = make(jitter)
    open_up(breaker)
    assert breaker.resting(0.0) == pytest.approx(expected, abs=0.001)


def test_rest_is_never_longer_than_a_minute_whatever_the_jitter() -> None:
    breaker, now = make(0.999), 0.0
    open_up(breaker)
    for _ in range(8):
        assert breaker.resting(now) <= 60.0
        now += breaker.resting(now)
        breaker.admit(now)
        breaker.failed(now, "still down")


def test_successful_probe_closes_it() -> None:
    breaker = make()
    open_up(breaker)
    breaker.admit(5.0)
    breaker.connected()
    assert breaker.state is State.CLOSED
    assert breaker.admit(5.0)


def test_rest_goes_on_growing_until_an_email_got_an_answer() -> None:
    breaker = make()
    open_up(breaker)
    breaker.admit(5.0)
    breaker.connected()  # lets us in, and then takes nothing
    for _ in range(3):
        breaker.refused(6.0, "530 at MAIL")
    assert breaker.resting(6.0) == pytest.approx(10.0)


def test_answer_to_an_email_resets_rest_and_refusals() -> None:
    breaker = make()
    open_up(breaker)
    breaker.admit(5.0)
    breaker.connected()
    breaker.refused(6.0, "530 at MAIL")
    breaker.refused(6.0, "530 at MAIL")
    breaker.succeeded()
    breaker.refused(6.0, "530 at MAIL")
    assert breaker.state is State.CLOSED
    open_up(breaker, now=7.0)
    assert breaker.resting(7.0) == pytest.approx(5.0)


def test_connecting_well_does_not_forgive_refusals_at_mail() -> None:
    breaker = make()
    for _ in range(3):
        breaker.connected()
        breaker.refused(0.0, "530 at MAIL")
    assert breaker.state is State.OPEN


def test_failures_of_others_under_way_do_not_prolong_the_rest() -> None:
    breaker = make()
    open_up(breaker)
    breaker.failed(4.0, "refused")
    assert breaker.resting(4.0) == pytest.approx(1.0)


def test_failure_after_the_rest_without_a_probe_opens_it_again() -> None:
    breaker = make()
    open_up(breaker)
    breaker.failed(6.0, "cannot find the relay's address")
    assert breaker.resting(6.0) == pytest.approx(10.0)


def test_abandoned_probe_lets_another_one_go_at_once() -> None:
    breaker = make()
    open_up(breaker)
    breaker.admit(5.0)
    breaker.abandon()
    assert breaker.admit(5.0)


def test_proven_only_while_the_newest_connection_went_well() -> None:
    breaker = make()
    assert not breaker.proven
    breaker.connected()
    assert breaker.proven
    breaker.failed(0.0, "refused")
    assert not breaker.proven


def test_one_error_when_it_opens_and_one_info_when_it_closes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    breaker = make()
    open_up(breaker)
    breaker.failed(1.0, "refused")
    breaker.admit(6.0)
    breaker.connected()
    breaker.connected()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "relay down"),
        ("INFO", "relay up"),
    ]
    assert vars(caplog.records[0])["reason"] == "connection refused"
