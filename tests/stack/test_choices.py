"""One variable each: the store, and the way out. Remembered, and changed without a loss."""

from typing import Any

import pytest

from tests.stack.stand import Stand, service_of, wait

ALWAYS = {"fastapi-app", "worker", "sweep", "rabbitmq", "flower", "guard"}


def _services(stand: Stand) -> set[str]:
    return {service_of(container) for container in stand.containers()}


def test_redis_takes_the_place_of_mongodb_and_mongodb_s_emails_wait_for_its_return(stand: Stand) -> None:
    stand.choose(store="mongodb")
    kept = stand.submit(scheduled_at="in 1 hour")
    printed = stand.make("start", STORE="redis")
    assert "STORE=mongodb make start" in printed
    assert _services(stand) == ALWAYS | {"redis"}
    assert "mongo" not in stand.make("status").lower()
    email_id = stand.submit()  # with the key that the first start printed
    wait(lambda: stand.email(email_id)["status"] == "sent", "the email is sent")
    assert stand.api("GET", f"/emails/{kept}").status_code == 404

    stand.make("start", STORE="mongodb")
    assert _services(stand) == ALWAYS | {"mongodb", "mongo-express"}
    assert stand.email(kept)["status"] == "scheduled"


def test_choice_is_remembered_by_every_command(stand: Stand) -> None:
    stand.choose(store="redis", mail="mailpit")
    before = stand.starts()
    stand.make("start")
    assert stand.starts() == before
    stand.make("stop")
    stand.make("start")
    assert _services(stand) == ALWAYS | {"redis", "mailpit"}


def test_redis_keeps_what_it_acknowledged_and_asks_for_its_password(stand: Stand) -> None:
    stand.choose(store="redis")
    asked = stand.compose("exec", "-T", "redis", "redis-cli", "ping")
    assert "NOAUTH" in asked.stdout + asked.stderr
    command = 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli config get "append*"'
    told = stand.compose("exec", "-T", "redis", "sh", "-c", command).stdout.split()
    assert dict(zip(told[::2], told[1::2], strict=False))["appendfsync"] == "always"
    assert "relaxed" not in stand.logs()


@pytest.mark.parametrize("store", ["mongodb", "redis"])
def test_mailpit_shows_the_email_on_its_port(stand: Stand, store: str) -> None:
    stand.choose(store=store, mail="mailpit")
    email_id = stand.submit(subject=f"Seen in Mailpit from {store}")
    wait(lambda: stand.email(email_id)["status"] == "sent", "the email is sent")
    assert f"Seen in Mailpit from {store}" in [message["Subject"] for message in stand.mailpit()]
    stand.choose(store=store)
    assert "mailpit" not in _services(stand)


def _was_tried_in_vain(email: dict[str, Any]) -> bool:
    """That a relay cannot be reached costs the email no attempt; its timeline tells."""
    return "relay_unavailable" in [event["event"] for event in email["timeline"]]


def test_relay_by_its_address_is_used_and_its_password_not_shown(stand: Stand) -> None:
    stand.choose()
    printed = stand.make("start", POSTROOM_RELAY_URL="smtp://user:pa$sword@mailserver.invalid:587")
    assert "sword" not in printed
    assert "mailserver.invalid:587" in printed
    email_id = stand.submit()
    wait(lambda: _was_tried_in_vain(stand.email(email_id)), "it was tried there, in vain")
    environment = dict(line.split("=", 1) for line in stand.one("worker")["Config"]["Env"])
    assert environment["POSTROOM_RELAY_URL"] == "smtp://user:pa$sword@mailserver.invalid:587"
    before = stand.starts()
    stand.make("start")
    assert stand.starts() == before
    stand.choose(mail="simulated")
    wait(lambda: stand.email(email_id)["status"] == "sent", "it goes on with another way out")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"STORE": "postgres"}, "STORE=postgres"),
        ({"MAIL": "pigeon"}, "MAIL=pigeon"),
        ({"POSTROOM_RELAY_URL": "http://mail"}, "POSTROOM_RELAY_URL"),
        ({"API_PORT": "99999"}, "API_PORT=99999"),
        ({"WORKERS": "x"}, "WORKERS=x"),
        ({"GUARD": "perhaps"}, "GUARD=perhaps"),
    ],
)
def test_unknown_choice_is_refused_in_a_sentence_and_changes_nothing(
    stand: Stand, variables: dict[str, str], named: str
) -> None:
    stand.choose()
    written = (stand.folder / ".env").read_bytes()
    done = stand.try_make("start", **variables)
    assert done.returncode != 0
    assert named in done.stderr
    assert (stand.folder / ".env").read_bytes() == written


def test_destroy_asks_first(stand: Stand) -> None:
    stand.choose()
    before = stand.starts()
    assert "Nothing was removed" in stand.try_make("destroy").stderr
    assert stand.starts() == before
