"""What Postroom says about itself."""

import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from postroom import telemetry

log = logging.getLogger("postroom.test")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Takes away what a test has set up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_what_is_away_is_told_once_in_a_while_and_for_each_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(telemetry.time, "monotonic", lambda: now)
    telemetry.set_up("info", "json")
    for _ in range(50):
        log.error("store unavailable", extra={"reason": "it is down"})
        log.error("store unavailable", extra={"reason": "it is full"})
        now += 0.1
    now += telemetry.QUIET_SECONDS
    log.error("store unavailable", extra={"reason": "it is down"})
    told = [json.loads(line)["reason"] for line in capsys.readouterr().err.splitlines()]
    assert told == ["it is down", "it is full", "it is down"]


def test_what_happens_twice_is_told_twice(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.set_up("info", "text")
    for _ in range(2):
        log.error("wake-up dead-lettered", extra={"reason": "not\nours"})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.endswith(r"error wake-up dead-lettered reason=not\nours") for line in lines)


def test_machines_are_told_times_that_say_their_zone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    telemetry.set_up("info", "json")
    log.info("started")
    monkeypatch.undo()
    time.tzset()
    at = datetime.fromisoformat(json.loads(capsys.readouterr().err)["at"])
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


def test_every_event_is_in_the_catalogue() -> None:
    assert telemetry.__doc__
    told = set(re.findall(r"^\| (.+?) +\|", telemetry.__doc__, re.MULTILINE))
    listed = {event for entry in told for event in entry.split(" / ")}
    for path in Path(telemetry.__file__).parent.rglob("*.py"):
        logged = re.findall(
            r'\blog\.(?:debug|info|warning|error|exception)\(\s*"(.+?)"', path.read_text(encoding="utf-8")
        )
        assert set(logged) <= listed, path
