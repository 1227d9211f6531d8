"""What is closed: dashboards, ports, containers, networks, logs."""

import socket
from typing import Any

import httpx
import pytest

from tests.stack.stand import Stand, docker, service_of, wait

PUBLISHED = {
    ("fastapi-app", "8022/tcp"),
    ("flower", "5555/tcp"),
    ("rabbitmq", "15672/tcp"),
    ("mongodb", "27017/tcp"),
    ("mongo-express", "8081/tcp"),
}
FLOWER_PATHS = (
    *("/", "/workers", "/worker/x", "/tasks", "/tasks/datatable", "/task/x", "/broker", "/metrics", "/healthcheck"),
    *("/api/workers", "/api/tasks", "/api/task/types", "/api/task/info/x", "/api/task/result/x", "/api/queues/length"),
)
FLOWER_COMMANDS = (
    *("/api/worker/shutdown/x", "/api/worker/pool/grow/x", "/api/worker/pool/shrink/x", "/api/worker/pool/restart/x"),
    *("/api/worker/queue/add-consumer/x", "/api/worker/queue/cancel-consumer/x", "/api/task/revoke/x"),
    *("/api/task/send-task/postroom.deliver", "/api/task/async-apply/postroom.deliver", "/api/task/abort/x"),
)
MONGO_EXPRESS_PATHS = (
    "/",
    "/db/postroom",
    "/db/postroom/emails",
    "/db/admin",
    "/db/postroom/export/emails",
    "/public/x",
)
RABBITMQ_PATHS = ("/api/overview", "/api/users", "/api/queues", "/api/definitions", "/api/whoami")
CANARIES = {
    "from": "Nora Sendername <sendercanary@example.com>",
    "subject": "subjectcanary",
    "text": "textcanary",
    "html": "<p>htmlcanary</p>",
    "headers": {"X-Canary": "headercanary"},
    "metadata": {"note": "metadatacanary"},
    "attachments": [{"filename": "filecanary.txt", "content": "YXR0YWNobWVudA=="}],
}


@pytest.fixture(autouse=True)
def _as_founded(stand: Stand) -> None:
    stand.choose()


def _code(stand: Stand, port: str, path: str, method: str = "GET", **arguments: Any) -> int:
    return httpx.request(
        method, stand.address(port) + path, timeout=20, trust_env=False, follow_redirects=True, **arguments
    ).status_code


@pytest.mark.parametrize("login", [None, ("admin", "pass"), ("guest", "guest"), ("flower", "flower"), ("viewer", "")])
def test_dashboards_ask_for_a_password_on_every_path(stand: Stand, login: tuple[str, str] | None) -> None:
    paths = {"FLOWER_PORT": FLOWER_PATHS, "MONGO_EXPRESS_PORT": MONGO_EXPRESS_PATHS, "RABBITMQ_PORT": RABBITMQ_PATHS}
    open_to_all = [
        (port, path) for port, found in paths.items() for path in found if _code(stand, port, path, auth=login) != 401
    ]
    assert not open_to_all


def test_flower_commands_nobody_also_with_its_password(stand: Stand) -> None:
    login = ("flower", stand.value("FLOWER_PASSWORD"))
    for path in FLOWER_COMMANDS:
        assert _code(stand, "FLOWER_PORT", path, "POST") in (401, 403)
        assert _code(stand, "FLOWER_PORT", path, "POST", auth=login, json={"args": []}) == 403


def test_flower_s_broker_user_cannot_publish_to_the_lanes(stand: Stand) -> None:
    login = ("flower", stand.value("RABBIT_FLOWER_PASSWORD"))
    message = {"properties": {}, "routing_key": "normal", "payload": "{}", "payload_encoding": "string"}
    for exchange in ("postroom", "amq.default"):
        path = f"/api/exchanges/postroom/{exchange}/publish"
        assert _code(stand, "RABBITMQ_PORT", path, "POST", auth=login, json=message) in (400, 401, 403)
    assert {user["name"] for user in stand.rabbitmq("/api/users")} == {"admin", "postroom", "flower"}


def test_mongo_express_cannot_write(stand: Stand) -> None:
    login = ("viewer", stand.value("MONGO_EXPRESS_PASSWORD"))
    email_id = stand.submit()
    for path in ("/db/postroom/emails", "/db/postroom", f"/db/postroom/emails/%22{email_id}%22"):
        _code(stand, "MONGO_EXPRESS_PORT", path, "DELETE", auth=login)
        _code(stand, "MONGO_EXPRESS_PORT", path, "POST", auth=login, data={"document": "{}"})
    assert stand.email(email_id)


def test_only_the_founded_ports_are_published_and_only_on_loopback(stand: Stand) -> None:
    bindings = [
        (service_of(container), port, binding["HostIp"])
        for container in stand.containers()
        for port, bound in container["NetworkSettings"]["Ports"].items()
        for binding in bound or ()
    ]
    assert {(service, port) for service, port, _ in bindings} == PUBLISHED
    assert {address for *_, address in bindings} == {"127.0.0.1"}


def test_from_another_interface_nothing_answers_until_the_api_is_let_out(stand: Stand) -> None:
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").strip()
    ports = ("API_PORT", "FLOWER_PORT", "RABBITMQ_PORT", "MONGODB_PORT", "MONGO_EXPRESS_PORT")
    assert [port for port in ports if _answers(gateway, stand.value(port))] == []
    stand.make("start", API_BIND="0.0.0.0")
    assert [port for port in ports if _answers(gateway, stand.value(port))] == ["API_PORT"]
    stand.make("start", API_BIND="127.0.0.1")


def _answers(host: str, port: str) -> bool:
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError:
        return False
    return True


def test_containers_are_confined(stand: Stand) -> None:
    for container in stand.containers():
        host, name = container["HostConfig"], service_of(container)
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert not host["Privileged"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["RestartPolicy"]["Name"] == "unless-stopped", name
        assert docker("exec", container["Id"], "id", "-u").strip() != "0", name


def test_guard_alone_has_the_engine_s_socket_and_nothing_else(stand: Stand) -> None:
    holders = [c for c in stand.containers() if any(mount["Source"].endswith(".sock") for mount in c["Mounts"])]
    assert [service_of(container) for container in holders] == ["guard", "guard"]
    for container in holders:
        assert container["HostConfig"]["NetworkMode"] == "none"
        assert not container["NetworkSettings"]["Ports"]
        assert {mount["Destination"]: mount["RW"] for mount in container["Mounts"]} == {
            "/docker.sock": False,
            "/stack": False,
        }
        environment = "\n".join(container["Config"]["Env"])
        secrets = [stand.value(name) for name in ("RABBIT_PASSWORD", "MONGODB_PASSWORD", "POSTROOM_API_KEY")]
        assert not [secret for secret in secrets if secret in environment]
        assert "POSTROOM_STORE_URL" not in environment


def test_signals_reach_the_parent_process_itself(stand: Stand) -> None:
    for service, command in (("fastapi-app", "serve"), ("worker", "worker"), ("sweep", "sweep")):
        program = docker("exec", stand.one(service)["Id"], "cat", "/proc/1/cmdline").split("\0")
        assert program[:2] == ["tini", "--"]
        assert program[2:4] == ["postroom", command]


@pytest.mark.parametrize(
    ("service", "reaches", "not_reached"),
    [
        ("fastapi-app", ["rabbitmq:5672", "mongodb:27017"], ["flower:5555", "mongo-express:8081", "1.1.1.1:53"]),
        ("flower", ["rabbitmq:5672"], ["mongodb:27017", "mongo-express:8081", "fastapi-app:8022", "1.1.1.1:53"]),
        ("sweep", ["rabbitmq:5672", "mongodb:27017"], ["fastapi-app:5555", "flower:5555", "1.1.1.1:53"]),
    ],
)
def test_services_reach_whom_they_must_and_nobody_else(
    stand: Stand, service: str, reaches: list[str], not_reached: list[str]
) -> None:
    for peer in (*reaches, *not_reached):
        host, port = peer.split(":")
        connect = f"import socket; socket.create_connection(({host!r}, {port}), 2)"
        done = stand.compose("exec", "-T", service, "python", "-c", connect)
        assert (done.returncode == 0) == (peer in reaches), f"{service} and {peer}: {done.stderr[-200:]}"


def test_logs_hold_no_address_no_content_and_no_secret(stand: Stand) -> None:
    recipients = ("okcanary", "bounce", "defer", "uncertain")
    ids = [stand.submit(**CANARIES, to=f"{name}@recipientcanary.example") for name in recipients]
    assert stand.api("POST", "/emails", json=CANARIES | {"to": "wrongcanary@@example"}).status_code == 422
    assert stand.api("GET", "/emails?to=okcanary@recipientcanary.example").status_code == 200
    wait(lambda: stand.email(ids[0])["status"] == "sent", "the email is sent")
    wait(lambda: stand.email(ids[1])["status"] == "bounced", "the email is bounced")
    wait(lambda: stand.email(ids[2])["status"] == "retrying", "the email is retrying")
    logged = stand.logs()
    assert "turn ended" in logged
    assert "canary" not in logged.lower()
    assert "Sendername" not in logged
    lines = (stand.folder / ".env").read_text().splitlines()
    secrets = [line.split("=", 1)[1] for line in lines if line.split("=")[0].endswith(("PASSWORD", "SECRET", "KEY"))]
    assert not [secret for secret in secrets if secret in logged]
