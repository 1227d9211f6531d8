"""Settings: read together, refused together, documented."""

from pathlib import Path

import pytest

from postroom import settings
from postroom.errors import SettingsError
from postroom.settings import reference


def test_defaults_need_no_environment() -> None:
    assert settings.load({}).port == 8022


def test_idle_connections_are_kept_longer_than_clients_and_proxies_keep_theirs() -> None:
    longest_of_theirs = 60  # nginx and .NET; Node keeps them for 4 to 5 seconds, httpx for 5
    assert settings.load({}).keep_alive_seconds > longest_of_theirs


def test_all_mistakes_are_reported_at_once_without_secret_values() -> None:
    environ = {
        "POSTROOM_PORT": "many",
        "POSTROOM_RELAY_URL": "gopher://user:hunter2@relay",
        "POSTROOM_STORE_URL": "oracle://",
        "POSTROOM_PROT": "8022",
    }
    with pytest.raises(SettingsError) as caught:
        settings.load(environ)
    text = "\n".join(caught.value.problems)
    for name in environ:
        assert name in text
    assert "hunter2" not in text


def test_secret_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "relay"
    path.write_text("smtp://user:secret@relay.example.com:587\n")
    loaded = settings.load({"POSTROOM_RELAY_URL_FILE": str(path)})
    assert loaded.relay_url.get_secret_value() == "smtp://user:secret@relay.example.com:587"
    assert "secret" not in repr(loaded)


def test_value_given_twice_is_refused_for_celery_would_take_the_other(tmp_path: Path) -> None:
    path = tmp_path / "broker"
    path.write_text("amqp://one:hunter2@one//")
    with pytest.raises(SettingsError, match="CELERY_BROKER_URL_FILE: CELERY_BROKER_URL is set as well") as caught:
        settings.load({"CELERY_BROKER_URL_FILE": str(path), "CELERY_BROKER_URL": "amqp://one:hunter2@two//"})
    assert "hunter2" not in str(caught.value)


def test_missing_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="POSTROOM_RELAY_URL_FILE"):
        settings.load({"POSTROOM_RELAY_URL_FILE": str(tmp_path / "absent")})


def test_simulated_range_must_not_be_reversed() -> None:
    with pytest.raises(SettingsError, match="POSTROOM_SIMULATED_MIN_SECONDS"):
        settings.load({"POSTROOM_SIMULATED_MIN_SECONDS": "5"})


@pytest.mark.parametrize(
    "given",
    [
        {"POSTROOM_ATTEMPT_SECONDS": "600"},
        {"POSTROOM_ATTEMPT_SECONDS": "1001"},
        {"POSTROOM_RELAY_DOT_SECONDS": "900"},
        {"POSTROOM_ATTEMPT_SECONDS": "3", "POSTROOM_RELAY_DOT_SECONDS": "1"},
    ],
)
def test_attempt_must_outlast_what_it_waits_for_and_not_its_task(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="POSTROOM_ATTEMPT_SECONDS"):
        settings.load(given)


@pytest.mark.parametrize(
    "given", ["<>", "nobody", "bounces@", "b@example.com\r\nRCPT TO:<c@example.com>", "b@ex ample.com"]
)
def test_return_path_that_no_email_could_be_sent_with_is_refused(given: str) -> None:
    with pytest.raises(SettingsError, match="POSTROOM_RETURN_PATH"):
        settings.load({"POSTROOM_RETURN_PATH": given})


def test_return_path_is_an_address_as_smtp_takes_it() -> None:
    given = {"": None, "Bounces <bounces@EXAMPLE.com>": "bounces@example.com", "b@exämple.com": "b@xn--exmple-cua.com"}
    assert {text: settings.load({"POSTROOM_RETURN_PATH": text}).return_path for text in given} == given


@pytest.mark.parametrize(
    "given", ["9464", "127.0.0.1", "127.0.0.1:", ":9464", "h:0", "h:65536", "a@h:1", "http://h:1", "::1:1"]
)
def test_metrics_address_that_nobody_could_listen_on_is_refused(given: str) -> None:
    with pytest.raises(SettingsError, match="POSTROOM_METRICS_ADDRESS: must be host:port"):
        settings.load({"POSTROOM_METRICS_ADDRESS": given})


def test_metrics_address_is_a_host_and_a_port() -> None:
    given = {"": None, "0.0.0.0:9464": "0.0.0.0:9464", "[::1]:9464": "[::1]:9464"}
    assert {text: settings.load({"POSTROOM_METRICS_ADDRESS": text}).metrics_address for text in given} == given


def test_retention_is_no_longer_than_a_date_can_tell() -> None:
    assert settings.load({"POSTROOM_RETENTION_DAYS": "36500"}).retention_days == 36_500
    with pytest.raises(SettingsError, match="POSTROOM_RETENTION_DAYS"):
        settings.load({"POSTROOM_RETENTION_DAYS": "1000000"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTROOM_STORE_URL", "redis://user:hunter2@127.0.0.1:99999/0"),
        ("CELERY_BROKER_URL", "amqp://user:hunter2@127.0.0.1:5672//;amqp://user:hunter2@127.0.0.1:abc//"),
        ("CELERY_BROKER_URL", "amqp://user:hunter2@one//;redis://user:hunter2@two"),
        ("CELERY_BROKER_URL", "amqp://user:hunter2@one//;amqps://user:hunter2@two//"),
        ("CELERY_BROKER_URL", "amqp://user:hunter2@one//;"),
        ("CELERY_RESULT_BACKEND", "rediss://user:hunter2@[127.0.0.1/0"),
        ("POSTROOM_HOST", ""),
        ("POSTROOM_HOST", "[::1]"),
        ("FORWARDED_ALLOW_IPS", "127.0.0.1, 10.0.0.5/24"),
        ("FORWARDED_ALLOW_IPS", "balancer"),
        ("POSTROOM_MAX_SCHEDULE_DAYS", "10000000000"),
        ("POSTROOM_MAX_JSON_DEPTH", "2000"),
    ],
)
def test_value_that_would_break_something_later_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        settings.load({name: value})
    assert "hunter2" not in str(caught.value)


def test_urls_of_several_hosts_are_taken() -> None:
    settings.load(
        {
            "POSTROOM_STORE_URL": "mongodb://a:27017,b:27017,c:27017/postroom?replicaSet=rs0",
            "CELERY_BROKER_URL": "amqps://u:p@a:5671//;amqps://u:p@b:5671//",
            "CELERY_RESULT_BACKEND": "redis://:p@[::1]:6379/1",
        }
    )


@pytest.mark.parametrize("proxies", ["", "*", "127.0.0.1", "10.0.0.5, 10.1.0.0/16,fd00::/8", "::1"])
def test_proxies_are_addresses_or_networks_or_all(proxies: str) -> None:
    settings.load({"FORWARDED_ALLOW_IPS": proxies})


def test_reference_page_matches_the_settings() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert reference.table() in page.read_text(encoding="utf-8"), "run `make docs`"


def test_variables_that_were_not_handed_over_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROOM_PORT", "9999")
    assert settings.load({}).port == 8022
    assert settings.load().port == 9999
