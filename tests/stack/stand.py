"""A stack for the tests: an empty checkout, started by `make start`, on ports and under a name of its own."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PROJECT = "postroom-test"
PORTS = ("API_PORT", "FLOWER_PORT", "RABBITMQ_PORT", "MONGODB_PORT", "MONGO_EXPRESS_PORT", "MAILPIT_PORT")
DEADLINE_SECONDS = 120.0
# Emails in doubt come back sooner than an operator would have them.
SETTINGS = "POSTROOM_DOUBT_LEASE_SECONDS=15\nPOSTROOM_DOUBT_DELAY_SECONDS=5\n"


class Stand:
    """The checkout, and what runs from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = {name: str(_free_port()) for name in PORTS}

    def check_out(self) -> None:
        """Copies what git would, and nothing that was made here."""
        listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True)
        for name in filter(None, listed.split("\0")):
            if (source := ROOT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, self.folder / name)
        (self.folder / "postroom.env").write_text(SETTINGS)

    # -- commands -----------------------------------------------------------------------------------------------------

    def try_make(self, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs `make target` there."""
        return subprocess.run(
            ["make", "--no-print-directory", target],
            cwd=self.folder,
            env=_environment() | self._ports | {"COMPOSE_PROJECT_NAME": PROJECT, "IMAGE_TAG": "test"} | variables,
            capture_output=True,
            text=True,
            timeout=900,
            stdin=subprocess.DEVNULL,
        )

    def make(self, target: str, **variables: str) -> str:
        """Runs `make target` there, which must succeed; returns what it printed."""
        done = self.try_make(target, **variables)
        assert done.returncode == 0, f"make {target}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def choose(self, *, store: str = "mongodb", mail: str = "simulated", workers: int = 1) -> None:
        """Has the stack run with these choices, and everything of it healthy."""
        self.make("start", STORE=store, MAIL=mail, WORKERS=str(workers))

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Plain `docker compose` there."""
        return subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )

    def documented(self, page: str, beginning: str) -> None:
        """Runs the commands of a page of `docs`, those whose block has that line."""
        blocks = (ROOT / "docs" / page).read_text().split("```sh\n")[1:]
        (commands,) = [block.split("```")[0] for block in blocks if f"\n{beginning}" in f"\n{block}"]
        done = subprocess.run(
            ["bash", "-ec", commands],
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=600,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{commands}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"

    # -- what .env says -----------------------------------------------------------------------------------------------

    def value(self, name: str) -> str:
        """A line of `.env`."""
        lines = dict(line.split("=", 1) for line in (self.folder / ".env").read_text().splitlines() if "=" in line)
        return lines[name].strip("'")

    def address(self, name: str) -> str:
        """The URL of a published port, such as `API_PORT`."""
        return f"http://127.0.0.1:{self.value(name)}"

    @property
    def key(self) -> str:
        """The API key that was printed."""
        return self.value("POSTROOM_API_KEY")

    # -- over HTTP ----------------------------------------------------------------------------------------------------

    def api(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request to the API, with its key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.request(
            method, self.address("API_PORT") + path, headers=headers, timeout=10, trust_env=False, **arguments
        )

    def submit(self, **members: Any) -> str:
        """Submits an email and returns its id."""
        email = {"from": "ann@example.com", "to": "bob@example.net", "subject": "Hello", "text": "Hello."}
        answer = self.api("POST", "/emails", json=email | members)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def email(self, email_id: str) -> dict[str, Any]:
        """What the API tells of it."""
        answer = self.api("GET", f"/emails/{email_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def flower(self, path: str) -> dict[str, Any]:
        """An answer of Flower's API."""
        return dict(self._dashboard("FLOWER_PORT", ("flower", self.value("FLOWER_PASSWORD")), path).json())

    def mongo_express(self, path: str) -> str:
        """A page of mongo-express."""
        return self._dashboard("MONGO_EXPRESS_PORT", ("viewer", self.value("MONGO_EXPRESS_PASSWORD")), path).text

    def rabbitmq(self, path: str) -> Any:
        """An answer of RabbitMQ's management."""
        return self._dashboard("RABBITMQ_PORT", ("admin", self.value("RABBIT_ADMIN_PASSWORD")), path).json()

    def mailpit(self) -> list[dict[str, Any]]:
        """All that has arrived at Mailpit, each with its headers."""
        login = ("viewer", self.value("MAILPIT_PASSWORD"))
        return list(self._dashboard("MAILPIT_PORT", login, "/api/v1/messages?limit=20000").json()["messages"])

    def _dashboard(self, port: str, login: tuple[str, str], path: str) -> httpx.Response:
        answer = httpx.get(self.address(port) + path, auth=login, timeout=20, trust_env=False)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer

    # -- containers ---------------------------------------------------------------------------------------------------

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """What Docker knows of our containers, or of those of one service."""
        label = f"label=com.docker.compose.project={PROJECT}"
        also = ["--filter", f"label=com.docker.compose.service={service}"] if service else []
        ids = docker("ps", "--all", "--quiet", "--filter", label, *also).split()
        return list(json.loads(docker("inspect", *ids))) if ids else []

    def one(self, service: str) -> dict[str, Any]:
        """The only container of a service."""
        (found,) = self.containers(service)
        return found

    def starts(self, *, but: Sequence[str] = ()) -> dict[str, str]:
        """When each container was started last, by name; without those of some services."""
        return {c["Name"]: c["State"]["StartedAt"] for c in self.containers() if service_of(c) not in but}

    def is_healthy(self, service: str) -> bool:
        """Whether all its containers say so."""
        found = self.containers(service)
        return bool(found) and all(c["State"].get("Health", {}).get("Status") == "healthy" for c in found)

    def crash(self, container: dict[str, Any]) -> None:
        """kill -9 of its first process, as the kernel does when memory runs out: Docker sees a crash, not a wish."""
        kill = f"import os; os.kill({container['State']['Pid']}, 9)"
        program = ("--user=0", "--entrypoint=python", "postroom:test", "-c", kill)
        docker("run", "--rm", "--pid=host", "--network=none", *program)

    def logs(self) -> str:
        """Everything that all containers have logged."""
        return self.make("logs", LINES_BACK="all")


def service_of(container: dict[str, Any]) -> str:
    """Its name in compose.yaml."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def docker(*arguments: str) -> str:
    """Runs Docker's command line, which must succeed."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"docker {' '.join(arguments[:2])}: {done.stderr}"
    return done.stdout


def wait(condition: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Polls until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


def _environment() -> dict[str, str]:
    ours = ("POSTROOM_", "CELERY_", "COMPOSE_", "MAKE", "MFLAGS")
    return {name: text for name, text in os.environ.items() if not name.startswith(ours)}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
