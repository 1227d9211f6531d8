"""`postroom check`: every part, found out without changing anything."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.command import postroom
from tests.acceptance.conftest import Start
from tests.acceptance.service import environment
from tests.servers import free_port, require
from tests.smtpd import Smtpd


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


def test_check_says_why_a_host_cannot_be_listened_on(tmp_path: Path) -> None:
    code, out, _ = postroom("check", folder=tmp_path, POSTROOM_HOST="nosuch.invalid")
    assert code == 1
    assert "cannot be listened on (" in out
    assert "Unknown error" not in out


def test_check_says_that_the_relay_is_down(tmp_path: Path) -> None:
    code, out, _ = postroom("check", folder=tmp_path, POSTROOM_RELAY_URL="smtp://127.0.0.1:1")
    assert code == 1
    assert "relay   WRONG" in out


def test_check_tells_each_part_as_soon_as_it_is_known_and_does_not_wait_long_for_a_silent_relay(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # as a port that waits for a TLS handshake
        relay = f"smtp://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        code, out, _ = postroom("check", folder=tmp_path, POSTROOM_RELAY_URL=relay)
    assert code == 1
    assert time.monotonic() - began < 30
    assert out.splitlines()[-1].startswith("relay   WRONG")
    assert "write smtps://" in out


def test_check_knows_a_port_that_begins_without_tls(tmp_path: Path) -> None:
    with Smtpd() as server:
        relay = server.url.replace("smtp://", "smtps://")
        code, out, _ = postroom("check", folder=tmp_path, POSTROOM_RELAY_URL=relay)
    assert code == 1
    assert "write smtp://" in out


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


def test_check_names_the_setting_that_is_wrong(tmp_path: Path) -> None:
    relay = {"POSTROOM_RELAY_URL": "smtps://127.0.0.1:1", "POSTROOM_RELAY_EHLO_NAME": "our host"}
    code, out, _ = postroom("check", folder=tmp_path, **relay)
    assert code == 1
    assert "relay   WRONG  POSTROOM_RELAY_EHLO_NAME: the EHLO name is neither" in out


def test_check_knows_addresses_of_both_kinds(tmp_path: Path) -> None:
    code, out, _ = postroom("check", folder=tmp_path, POSTROOM_HOST="::1", POSTROOM_PORT="0")
    assert code == 0, out


@pytest.mark.parametrize("host", ["nowhere.invalid", "999.1.1.1"])
def test_check_knows_addresses_that_are_none(tmp_path: Path, host: str) -> None:
    code, out, err = postroom("check", folder=tmp_path, POSTROOM_HOST=host)
    assert (code, err) == (1, "")
    assert re.search(rf"port    WRONG  {host}:0 cannot be listened on \((.* not known|Temporary failure .*)\)", out)


def test_check_makes_nothing_and_says_where_a_new_store_will_be(tmp_path: Path) -> None:
    code, out, _ = postroom("check", folder=tmp_path, POSTROOM_STORE_URL="sqlite:///typo/in/postroom.sqlite3")
    assert code == 0
    assert f"store   ok     new: will be created at {tmp_path}/typo/in/postroom.sqlite3" in out
    assert list(tmp_path.iterdir()) == []


def test_check_refuses_a_store_that_could_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, _ = postroom("check", folder=tmp_path, POSTROOM_STORE_URL="sqlite:///file/postroom.sqlite3")
    assert code == 1
    assert "file is not a directory" in out


@pytest.mark.parametrize("mode", [0o500, 0])
def test_directory_without_rights_is_one_sentence(tmp_path: Path, mode: int) -> None:
    (tmp_path / "data").mkdir(mode=mode)
    for command in (["check"], ["keys", "create"], ["keys", "list"]):
        done = as_one_of_the_people([sys.executable, "-m", "postroom", *command], tmp_path)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert f"{tmp_path}/data" in done.stdout + done.stderr


def as_one_of_the_people(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Runs it without root's right to pass over the rights on files."""
    if os.geteuid() == 0:
        require(shutil.which("setpriv") is not None, "rights are nothing to root without setpriv")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    env = environment({})
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_check_looks_at_the_port_for_metrics(start: Start, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    code, out, _ = postroom("check", "--json", folder=tmp_path, POSTROOM_METRICS_ADDRESS=address)
    assert (code, json.loads(out)["metrics"]["ok"]) == (0, True)
    start(metrics_address=address)
    out = postroom("check", folder=tmp_path, POSTROOM_METRICS_ADDRESS=address)[1]
    assert f"metrics ok     {address} is where a Postroom shows its numbers already" in out
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, out, _ = postroom("check", folder=tmp_path, POSTROOM_METRICS_ADDRESS=address)
    assert code == 1
    assert f"metrics WRONG  {address} cannot be listened on (Address already in use)" in out


def test_check_says_what_ails_the_postroom_that_is_running(start: Start) -> None:
    service = start()
    store = service.folder / "data" / "postroom.sqlite3"
    store.rename(store.with_name("moved"))
    code, out, _ = postroom("check", service=service, POSTROOM_PORT=service.address.rpartition(":")[2])
    assert code == 1
    assert "which accepts no emails: store " in out
