"""The command line against a running product, and without one."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from postroom.cli import main
from tests.acceptance.command import SEND, postroom
from tests.acceptance.conftest import Start
from tests.acceptance.service import environment


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


def test_list_names_the_next_page_in_its_own_direction(start: Start) -> None:
    service = start()
    ids = [postroom(*SEND, "--at", "in 1 hour", service=service)[1].strip() for _ in range(5)]
    older = postroom("list", "--limit", "2", service=service)[1].splitlines()
    assert older[-1] == f"more: --after {ids[3]}"
    newer = postroom("list", "--limit", "2", "--before", ids[0], service=service)[1].splitlines()
    assert newer[-1] == f"more: --before {ids[2]}"
    assert postroom("list", "--status", "failed", service=service) == (0, "", "")


def test_send_can_wait_for_the_end_and_shows_its_steps(start: Start, tmp_path: Path) -> None:
    service = start(simulated_min_seconds="0.3", simulated_max_seconds="0.3")
    (tmp_path / "notes.txt").write_text("as attached")
    code, out, err = postroom(*SEND, "--attach", "notes.txt", "--wait", service=service)
    assert code == 0
    assert out.splitlines()[0].endswith("sent")
    assert "sent" in err


def test_wait_that_cannot_learn_the_end_has_an_exit_code_of_its_own_and_tells_the_id(start: Start) -> None:
    service = start(simulated_min_seconds="60", simulated_max_seconds="60")
    sending_only = postroom("keys", "create", "--sending-only", service=service)[1].strip()
    code, out, err = postroom(*SEND, "--wait", service=service, POSTROOM_API_KEY=sending_only)
    assert code == 3
    assert service.email(out.strip())["subject"] == "Hello"
    assert "its end is not known" in err
    code, out, _ = postroom(*SEND, "--wait", "--json", service=service, POSTROOM_API_KEY=sending_only)
    assert (code, json.loads(out)["status"]) == (3, "queued")


def test_wait_goes_on_through_a_rate_limit(start: Start) -> None:
    service = start(simulated_min_seconds="1", simulated_max_seconds="1", rate_limit="1")
    code, out, _ = postroom(*SEND, "--wait", service=service)
    assert code == 0
    assert out.splitlines()[0].endswith("sent")


def test_refusal_is_a_sentence_and_exit_code_one(start: Start) -> None:
    service = start()
    code, out, err = postroom(
        "send", "--from", "nobody", "--to", "b@example.com", "--subject", "x", "--text", "y", service=service
    )
    assert (code, out) == (1, "")
    assert "from" in err
    assert "Traceback" not in err


def test_arguments_that_http_cannot_carry_are_told_from_a_service_that_is_away(start: Start) -> None:
    service = start()
    for wrong in ("ä", "a\nb", "order 7\n", ""):
        code, _, err = postroom(*SEND, "--idempotency-key", wrong, service=service)
        assert code == 2
        assert err.startswith("postroom: --idempotency-key ")
        assert "7" not in err
    assert postroom("list", service=service)[1] == ""
    code, _, err = postroom("status", "../livez", service=service)
    assert code == 1
    assert "HTTP 404" in err


def test_argument_that_is_no_text_is_looked_for_and_not_found(start: Start) -> None:
    service = start()
    for command in (("status",), ("cancel",), ("keys", "revoke")):
        code, _, err = postroom(*command, "\udcff", service=service)
        assert code == 1
        assert "HTTP 404" in err
    service.stop()
    code, _, err = postroom("keys", "revoke", "\udcff", service=service, POSTROOM_API_KEY="", POSTROOM_API_URL="")
    assert code == 1
    assert "no such key" in err


@pytest.mark.parametrize("command", ["settings", "check", "keys mint", "list --json"])
def test_output_that_cannot_be_written_is_one_sentence(start: Start, command: str) -> None:
    service = start()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "postroom", *command.split()],
            cwd=service.folder,
            env=environment({"api_url": service.address, "api_key": service.key}),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == "postroom: cannot write to standard output (No space left on device)\n"


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


def test_white_space_around_the_key_is_left_out_and_a_key_that_is_none_is_not_shown(start: Start) -> None:
    service = start()
    assert postroom("list", service=service, POSTROOM_API_KEY=f" {service.key}\r\n")[0] == 0
    for wrong in (f"{service.key}\n#", f"{service.key}ä", f"{service.key}\x7f"):
        code, out, err = postroom("list", service=service, POSTROOM_API_KEY=wrong)
        assert (code, out) == (2, "")
        assert "POSTROOM_API_KEY" in err
        assert service.key[:8] not in err


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
