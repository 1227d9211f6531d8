"""`make start` in an empty checkout, as a person meets it."""

import re
import stat
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.stack.stand import PORTS, ROOT, Stand, service_of, wait

SERVICES = {"fastapi-app", "worker", "sweep", "rabbitmq", "flower", "mongodb", "mongo-express", "guard"}


def test_first_start_ends_with_every_service_healthy(first_start: tuple[Stand, str]) -> None:
    stand, printed = first_start
    assert {service_of(container) for container in stand.containers()} == SERVICES
    for service in SERVICES:
        assert stand.is_healthy(service)
        assert f"{service} is healthy" in printed


def test_printed_curl_line_submits_an_email_that_is_sent(first_start: tuple[Stand, str]) -> None:
    stand, printed = first_start
    found = re.search(r"^  (curl .*/emails -H .*\\\n.*)$", printed, re.MULTILINE)
    assert found
    answer = subprocess.check_output(["bash", "-c", found[1]], text=True)
    email_id = re.search(r'"id":"([^"]+)"', answer)
    assert email_id, answer
    wait(lambda: stand.email(email_id[1])["status"] == "sent", "the email is sent")
    took = stand.email(email_id[1])["timeline"][1]["detail"]["seconds"]
    assert 1 <= took < 4.5


def test_printed_logins_open_the_dashboards_which_show_worker_chunk_and_email(stand: Stand) -> None:
    stand.choose()
    email_id = stand.submit(subject="Shown in mongo-express")
    wait(lambda: stand.email(email_id)["status"] == "sent", "the email is sent")
    host = stand.one("worker")["Config"]["Hostname"]
    wait(lambda: any(name.endswith(f"@{host}") for name in _inspected(stand)), "Flower shows the worker")
    wait(
        lambda: any(
            email_id in task["args"] and task["state"] == "SUCCESS" for task in stand.flower("/api/tasks").values()
        ),
        "Flower shows the chunk",
    )
    page = stand.mongo_express(f"/db/postroom/emails/%22{email_id}%22")
    assert "Shown in mongo-express" in page
    assert stand.rabbitmq("/api/overview")["rabbitmq_version"].startswith("4.")
    lanes = {queue["name"]: queue for queue in stand.rabbitmq("/api/queues/postroom")}
    for lane in ("urgent", "normal", "bulk"):
        queue = lanes[f"postroom.{lane}"]
        assert (queue["type"], queue["effective_policy_definition"]) == (
            "quorum",
            {"delivery-limit": 20, "max-length": 1000000, "overflow": "reject-publish"},
        )


def _inspected(stand: Stand) -> list[str]:
    return [name for name, told in stand.flower("/api/workers?refresh=1").items() if told.get("stats")]


def test_mongodb_is_reachable_on_its_port_with_the_printed_login_only(stand: Stand) -> None:
    stand.choose()
    pymongo = pytest.importorskip("pymongo")
    port, password = stand.value("MONGODB_PORT"), stand.value("MONGODB_VIEWER_PASSWORD")
    with pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true") as nobody:
        assert nobody.admin.command("hello")["setName"] == "rs0"
        with pytest.raises(pymongo.errors.OperationFailure):
            nobody.postroom.emails.find_one()
    with pymongo.MongoClient(f"mongodb://viewer:{password}@127.0.0.1:{port}/?directConnection=true") as viewer:
        viewer.postroom.emails.find_one()
        with pytest.raises(pymongo.errors.OperationFailure):
            viewer.postroom.emails.insert_one({})


def test_second_start_is_quick_and_changes_nothing(stand: Stand) -> None:
    stand.choose()
    before, written = stand.starts(), (stand.folder / ".env").read_bytes()
    began = time.monotonic()
    printed = stand.make("start")
    assert time.monotonic() - began < 20
    assert stand.starts() == before
    assert (stand.folder / ".env").read_bytes() == written
    assert "worker runs and stays as it is" in printed
    assert stand.make("status").count(stand.key) == printed.count(stand.key)


def test_passwords_are_random_unreadable_to_others_and_ignored_by_git(stand: Stand) -> None:
    path = stand.folder / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    secrets = [text for name, text in lines.items() if name.endswith(("_PASSWORD", "_SECRET", "_KEY"))]
    assert len(set(secrets)) == len(secrets) == 14
    assert min(map(len, secrets)) >= 40
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("weak", ["", "guest", "pass/word" * 5])
def test_weak_password_is_refused_and_named(stand: Stand, tmp_path: Path, weak: str) -> None:
    other = Stand(tmp_path)
    other.check_out()
    text = (stand.folder / ".env").read_text()
    (tmp_path / ".env").write_text(re.sub(r"(?m)^FLOWER_PASSWORD=.*$", f"FLOWER_PASSWORD={weak}", text))
    done = other.try_make("start")
    assert done.returncode != 0
    assert "FLOWER_PASSWORD" in done.stderr
    assert "Building" not in done.stdout


def test_no_service_starts_without_its_password(stand: Stand, tmp_path: Path) -> None:
    secrets = [name for name in re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()) if name]
    assert len(set(secrets)) >= 14
    for name in set(secrets):
        text = re.sub(rf"(?m)^{name}=.*$", f"{name}=", (stand.folder / ".env").read_text())
        (tmp_path / "env").write_text(text)
        done = stand.compose("--env-file", str(tmp_path / "env"), "config", "--quiet")
        assert done.returncode != 0, name
        assert name in done.stderr


@pytest.mark.parametrize("name", PORTS[:2])
def test_taken_port_is_named_with_the_variable_that_changes_it(stand: Stand, tmp_path: Path, name: str) -> None:
    stand.choose()
    other = Stand(tmp_path)
    other.check_out()
    taken = stand.value(name)
    done = other.try_make("start", **{name: taken}, COMPOSE_PROJECT_NAME="postroom-test-other")
    assert done.returncode != 0
    assert f"Port {taken} is taken by the container postroom-test-" in done.stderr
    assert f"{name}={int(taken) + 1} make start" in done.stderr


def test_api_answers_with_its_documentation_and_asks_for_a_key(stand: Stand) -> None:
    stand.choose()
    address = stand.address("API_PORT")
    assert httpx.get(f"{address}/docs", trust_env=False).status_code == 200
    assert httpx.get(f"{address}/emails", trust_env=False).status_code == 401
