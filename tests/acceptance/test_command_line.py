"""The command line against a running product, and without one."""

import json
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from postroom.cli import main
from tests.acceptance.conftest import Start
from tests.acceptance.service import Service, environment


def postroom(
    *arguments: str, service: Service | None = None, folder: Path | None = None, words: str = "", **env: str
) -> tuple[int, str, str]:
    """Runs the command, with these words on standard input; returns exit code, standard output, standard error."""
    variables = environment({})
    if service:
        variables |= {"POSTROOM_API_URL": service.address, "POSTROOM_API_KEY": service.key}
    done = subprocess.run(
        [sys.executable, "-m", "postroom", *arguments],
        cwd=service.folder if service else folder,
        env=variables | env,
        input=words,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


SEND = ("send", "--from", "ann@example.com", "--to", "bob@example.com", "--subject", "Hello", "--text", "Hi")


def test_send_status_list_cancel_and_retry_work_from_the_shell(start: Start) -> None:
    service = start(simulated_min_seconds="0", simulated_max_seconds="0")
    code, out, _ = postroom(*SEND, "--at", "in 1 hour", "--json", service=service)
    assert code == 0
    email_id = json.loads(out)["id"]
    assert postroom("cancel", email_id, service=service)[:2] == (0, f"{email_id} canceled\n")
    assert "canceled" in postroom("status", email_id, service=service)[1]
    assert postroom("retry", email_id, service=service)[0] == 0
    service.wait_for(email_id, "sent")
    listed = json.loads(postroom("list", "--status", "sent", "--json", service=service)[1])
    assert [email["id"] for email in listed["data"]] == [email_id]


def test_send_can_wait_for_the_end_and_shows_its_steps(start: Start, tmp_path: Path) -> None:
    service = start(simulated_min_seconds="0.3", simulated_max_seconds="0.3")
    (tmp_path / "notes.txt").write_text("as attached")
    code, out, err = postroom(*SEND, "--attach", "notes.txt", "--wait", service=service)
    assert code == 0
    assert out.splitlines()[0].endswith("sent")
    assert "sent" in err


def test_refusal_is_a_sentence_and_exit_code_one(start: Start) -> None:
    service = start()
    code, out, err = postroom(
        "send", "--from", "nobody", "--to", "b@example.com", "--subject", "x", "--text", "y", service=service
    )
    assert (code, out) == (1, "")
    assert "from" in err
    assert "Traceback" not in err


def test_keys_are_made_listed_and_revoked_while_the_service_runs_and_while_it_does_not(start: Start) -> None:
    service = start()
    code, token, _ = postroom("keys", "create", "reporting", "--sending-only", service=service)
    assert code == 0
    assert service.request("GET", "/emails", key=token.strip()).json()["name"] == "restricted_api_key"
    service.stop()
    keys = json.loads(postroom("keys", "list", "--json", service=service)[1])
    made = next(key for key in keys if key["name"] == "reporting")
    assert made["permission"] == "sending_access"
    assert postroom("keys", "revoke", made["id"], service=service)[0] == 0
    service.start()
    assert service.request("POST", "/emails", key=token.strip(), json={}).json()["name"] == "invalid_api_key"


def test_key_minted_elsewhere_is_valid_once_it_was_added_and_stays_as_it_is(start: Start) -> None:
    service = start()
    minted = postroom("keys", "mint", service=service)[1].strip()
    assert service.request("GET", "/emails", key=minted).json()["name"] == "invalid_api_key"
    service.stop()
    for _ in range(2):
        assert postroom("keys", "add", "stack", words=f"{minted}\n", service=service)[0] == 0
    keys = json.loads(postroom("keys", "list", "--json", service=service)[1])
    assert [key["name"] for key in keys].count("stack") == 1
    code, _, err = postroom("keys", "add", words=minted[:-1], service=service)
    assert code == 1
    assert "not a key" in err
    service.start()
    assert service.request("GET", "/emails", key=minted).status_code == 200


def test_check_names_every_part_and_all_wrong_settings_at_once(tmp_path: Path) -> None:
    code, out, _ = postroom("check", "--json", folder=tmp_path)
    assert code == 0
    assert {name for name, part in json.loads(out).items() if part["ok"]} == {"store", "relay", "port"}
    code, _, err = postroom("check", folder=tmp_path, POSTROOM_PORT="x", POSTROOM_RELAY_URL="y", POSTROOM_TYPO="z")
    assert code == 2
    assert len(err.strip().splitlines()) == 3


def test_check_knows_the_postroom_that_is_running(start: Start) -> None:
    service = start()
    port = {"POSTROOM_PORT": service.address.rpartition(":")[2]}
    code, out, _ = postroom("check", service=service, **port)
    assert code == 0, out
    assert "running already" in out
    assert "in use by the process with pid" in out
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, out, _ = postroom("check", service=service, POSTROOM_PORT=str(other.getsockname()[1]))
    assert code == 1
    assert "cannot be listened on" in out


def test_lost_key_is_helped_and_a_new_store_is_named(start: Start, tmp_path: Path) -> None:
    service = start()
    code, _, err = postroom("keys", "create", service=service, POSTROOM_API_KEY="")
    assert code == 2
    assert "stop that and run `postroom keys create`" in err
    service.stop()
    code, out, err = postroom("keys", "create", service=service, POSTROOM_API_KEY="")
    assert (code, out[:3], err) == (0, "pr_", "")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code, out, err = postroom("keys", "list", folder=elsewhere)
    assert (code, out.strip()) == (0, "")
    assert f"{elsewhere}/data/postroom.sqlite3 is new" in err


def test_check_says_that_the_relay_is_down(tmp_path: Path) -> None:
    code, out, _ = postroom("check", folder=tmp_path, POSTROOM_RELAY_URL="smtp://127.0.0.1:1")
    assert code == 1
    assert "relay   WRONG" in out


def test_check_says_what_is_missing_once(tmp_path: Path) -> None:
    away = {"POSTROOM_STORE_URL": "redis://127.0.0.1:1", "CELERY_BROKER_URL": "amqp://127.0.0.1:1"}
    code, out, err = postroom("check", folder=tmp_path, **away)
    assert (code, err) == (1, "")
    assert out.count("Redis at 127.0.0.1:1") == 1


@pytest.mark.parametrize("url", ["mongodb://u:sesame/@127.0.0.1:1/x", "redis://:sesame@127.0.0.1:1/0?x=y"])
def test_check_tells_no_password_of_a_url_that_is_none(tmp_path: Path, url: str) -> None:
    code, out, err = postroom("check", folder=tmp_path, POSTROOM_STORE_URL=url, CELERY_BROKER_URL="amqp://127.0.0.1:1")
    assert (code, err) == (1, "")
    assert "POSTROOM_STORE_URL" in out
    assert "sesame" not in out


def test_check_names_the_file_that_cannot_be_read_and_goes_on(tmp_path: Path) -> None:
    relay = {"POSTROOM_RELAY_URL": "smtps://127.0.0.1:1", "POSTROOM_RELAY_CA_FILE": "/nonexistent"}
    code, out, err = postroom("check", folder=tmp_path, **relay)
    assert code == 1
    assert "POSTROOM_RELAY_CA_FILE" in out
    assert "store" in out
    assert "Traceback" not in out + err


def test_check_knows_addresses_of_both_kinds(tmp_path: Path) -> None:
    code, out, _ = postroom("check", folder=tmp_path, POSTROOM_HOST="::1", POSTROOM_PORT="0")
    assert code == 0, out


@pytest.mark.parametrize("wrong", [("--domain", "@example.com", "x"), ("--domain", "", "x"), ("a\nb",), ("",)])
def test_key_that_could_never_be_used_is_not_made(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    code, out, err = postroom("keys", "create", *wrong, folder=tmp_path)
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert postroom("keys", "list", folder=tmp_path)[1].strip() == ""


def test_domain_of_a_key_is_written_as_addresses_have_it(tmp_path: Path) -> None:
    assert postroom("keys", "create", "--domain", "Bücher.example", "shop", folder=tmp_path)[0] == 0
    (key,) = json.loads(postroom("keys", "list", "--json", folder=tmp_path)[1])
    assert key["domains"] == ["xn--bcher-kva.example"]


def test_arguments_that_http_cannot_carry_are_told_from_a_service_that_is_away(start: Start) -> None:
    service = start()
    code, _, err = postroom(*SEND, "--idempotency-key", "ä", service=service)
    assert code == 2
    assert "cannot reach" not in err
    code, _, err = postroom("status", "../livez", service=service)
    assert code == 1
    assert "HTTP 404" in err


@pytest.mark.parametrize("command", [(*SEND[:-1], "-"), ("keys", "add")])
def test_input_that_is_no_text_is_one_sentence(tmp_path: Path, command: tuple[str, ...]) -> None:
    strict = {"PYTHONIOENCODING": "utf-8:strict", "POSTROOM_API_KEY": "x"}  # as in a locale such as en_US.UTF-8
    done = subprocess.run(
        [sys.executable, "-m", "postroom", *command],
        cwd=tmp_path,
        env=environment({}) | strict,
        input=b"\xff\xfe",
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == b"postroom: standard input is not UTF-8\n"


@pytest.mark.parametrize("wrong", ["corrupt", "folder", "newer"])
def test_unusable_database_is_one_sentence(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "data.sqlite3"
    if wrong == "corrupt":
        path.write_bytes(b"this is no database, and never was one" * 100)
    elif wrong == "folder":
        path.mkdir()
    else:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99999")
        connection.close()
    code, _, err = postroom("run", folder=tmp_path, POSTROOM_STORE_URL="sqlite:///data.sqlite3")
    assert code == 1
    assert "Traceback" not in err
    assert "data.sqlite3" in err


def test_without_a_service_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    code, _, err = postroom("list", folder=tmp_path)
    assert code == 2
    assert "POSTROOM_API_KEY" in err
    code, _, err = postroom("list", folder=tmp_path, POSTROOM_API_KEY="x", POSTROOM_API_URL="http://127.0.0.1:1")
    assert code == 1
    assert "postroom run" in err


def test_every_command_has_help(tmp_path: Path) -> None:
    out = postroom("--help", folder=tmp_path)[1]
    for name, command in main.commands.items():
        assert name in out
        assert command.help
