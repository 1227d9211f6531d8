"""What a new user does first: start it, paste the printed line, follow the email, stop it, start it again."""

import re
import subprocess
import sys
import time

from tests.acceptance.conftest import Start
from tests.acceptance.service import found


def test_printed_line_works_when_pasted_and_email_is_sent_within_five_seconds(start: Start) -> None:
    service = start()
    line = re.search(r"  (curl -s \S+/emails -H.*?\n.*?)\n", service.output, re.DOTALL)
    assert line, service.output
    began = time.monotonic()
    answer = subprocess.run(["bash", "-c", line[1]], capture_output=True, text=True, check=True).stdout
    email = service.wait_for(found(r'"id":\s?"([0-9a-f-]{36})"', answer), "sent", seconds=6)
    assert time.monotonic() - began < 6  # the simulated relay itself takes up to 4 s
    assert [event["event"] for event in email["timeline"]] == ["queued", "attempt", "sent"]


def test_documentation_is_named_where_it_is_served(start: Start) -> None:
    service = start()
    assert f"{service.address}/docs)" in service.output
    service.stop()
    without = start(docs="false")
    assert "/docs" not in without.output
    assert without.request("GET", "/docs", key=service.key).status_code == 404


def test_key_is_shown_once_and_kept_only_as_a_hash(start: Start) -> None:
    service = start()
    assert service.stop() == 0
    secret = service.key.split("_")[2]
    for path in service.folder.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes(), path
    service.start()
    assert "shown only now" not in service.output
    assert service.request("GET", "/emails").status_code == 200


def test_stop_hands_back_what_is_in_hand_and_the_next_start_finishes_it(start: Start) -> None:
    service = start(simulated_min_seconds="20", simulated_max_seconds="20", stop_seconds="0.5")
    email_id = service.submit()
    service.wait_for(email_id, "sending")
    assert service.stop() == 0
    again = start(simulated_min_seconds="0", simulated_max_seconds="0")
    again.key = service.key
    email = again.wait_for(email_id, "sent", seconds=5)
    assert not email["possible_duplicate"]
    assert email["attempts"] == 1


def test_stop_finishes_what_ends_in_time(start: Start) -> None:
    service = start(simulated_min_seconds="1", simulated_max_seconds="1")
    email_id = service.submit()
    service.wait_for(email_id, "sending")
    assert service.stop() == 0
    service.start()
    assert service.email(email_id)["status"] == "sent"


def test_second_process_on_the_same_data_is_refused_in_one_sentence(start: Start) -> None:
    service = start()
    other = subprocess.run(
        [sys.executable, "-m", "postroom", "run"],
        cwd=service.folder,
        env={"POSTROOM_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert other.returncode == 1
    assert "Traceback" not in other.stderr
    assert str(service.process.pid) in other.stderr


def test_port_in_use_is_one_sentence(start: Start) -> None:
    service = start()
    port = service.address.rpartition(":")[2]
    other = subprocess.run(
        [sys.executable, "-m", "postroom", "run"],
        cwd=service.folder,
        env={"POSTROOM_PORT": port, "POSTROOM_STORE_URL": "sqlite:///other.sqlite3"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert other.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use); " in other.stderr
    assert len(other.stderr.strip().splitlines()) == 1
