"""The units for systemd fit the product."""

from pathlib import Path

import pytest

from postroom import settings

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "hosts" / "systemd").glob("*.service"))


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest) -> list[tuple[str, str]]:
    """The names and values in one unit, in order; some names come several times."""
    lines = [line for line in request.param.read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#", "[")]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def test_settings_are_known_and_read_from_what_is_handed_over(unit: list[tuple[str, str]], tmp_path: Path) -> None:
    urls = {"store-url": "mongodb://m/p", "broker-url": "amqp://b", "relay-url": "smtp://r"}
    handed_over = [value.partition(":")[0] for name, value in unit if name == "LoadCredential"]
    for credential in handed_over:
        (tmp_path / credential).write_text(urls[credential])
    given = dict(value.replace("%d", str(tmp_path)).split("=") for name, value in unit if name == "Environment")
    loaded = settings.load(given)
    found = {"store-url": loaded.store_url, "broker-url": loaded.celery_broker_url, "relay-url": loaded.relay_url}
    assert "relay-url" in handed_over
    assert all(found[name].get_secret_value() == urls[name] for name in handed_over)


def test_process_is_started_again_however_often_it_ends(unit: list[tuple[str, str]]) -> None:
    assert dict(unit)["Restart"] == "always"
    assert dict(unit)["StartLimitIntervalSec"] == "0"


def test_process_may_finish_or_hand_back_what_is_in_hand(unit: list[tuple[str, str]]) -> None:
    assert dict(unit)["KillMode"] == "mixed"
    assert int(dict(unit)["TimeoutStopSec"]) > 2 * settings.load({}).stop_seconds


def test_process_that_dates_emails_starts_once_the_clock_is_right(unit: list[tuple[str, str]]) -> None:
    command = dict(unit)["ExecStart"].split()[1]
    if command in ("run", "serve"):
        assert all("time-sync.target" in dict(unit)[name].split() for name in ("Wants", "After"))
