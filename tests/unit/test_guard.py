"""The guard starts again what `docker kill` ended, and nothing else. Docker is played on a socket of its own."""

import contextlib
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

SCRIPT = Path(__file__).parents[2] / "stack" / "guard" / "guard.py"


def _script() -> ModuleType:
    """The guard, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("guard", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


guard = _script()

KILLED = "kill die"


class Engine(BaseHTTPRequestHandler):
    """One request, answered from what the test has laid into the server."""

    server: "Server"

    def do_GET(self) -> None:
        """Events, or one container."""
        if self.server.breaks:
            self.server.breaks -= 1
            return  # closes the connection without a word
        url = urlsplit(self.path)
        if url.path.endswith("/events"):
            self.server.asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            self._answer(200, "".join(json.dumps(event) + "\n" for event in self.server.events))
        elif self.server.state:
            self._answer(200, json.dumps({"State": {"Status": self.server.state}}))
        else:
            self._answer(404, '{"message":"No such container"}')

    def do_POST(self) -> None:
        """Start of a container."""
        if self.server.starts_with == 204:
            self.server.state = "running"
        self.server.started.put(self.path.split("/")[-2])
        self._answer(self.server.starts_with)

    def _answer(self, status: int, text: str = "") -> None:
        with contextlib.suppress(BrokenPipeError):  # a guard that the test has ended meanwhile
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

    def address_string(self) -> str:
        """There is none behind a socket in a folder."""
        return "guard"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a test says itself what went wrong."""


class Server(ThreadingUnixStreamServer):
    """An Engine with one container."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Engine)
        self.events: list[dict[str, Any]] = []
        self.asked: dict[str, str] = {}
        self.started: queue.Queue[str] = queue.Queue()
        self.state = "exited"
        self.starts_with = 204
        self.breaks = 0

    def tell(self, actions: str, *, seconds_ago: float = 10) -> None:
        """Lets these things have happened to the container, the last of them so long ago."""
        at = time.time() - seconds_ago
        for back, action in enumerate(reversed(actions.split())):
            actor = {"ID": "c1" * 32, "Attributes": {"com.docker.compose.service": "worker"}}
            self.events.insert(0, {"Action": action, "Actor": actor, "timeNano": int((at - back / 100) * 1e9)})


@contextlib.contextmanager
def listening(path: Path) -> Iterator[Server]:
    """The Engine at that path, until the block ends."""
    with Server(path) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()
    path.unlink()


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Server]:
    """An Engine that answers."""
    with listening(tmp_path / "docker.sock") as server:
        yield server


@contextlib.contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The guard as a process."""
    process = subprocess.Popen(
        [sys.executable, "-I", SCRIPT, "postroom", folder / "docker.sock"],
        env=os.environ | {"POSTROOM_WORKER_ALIVE_FILE": str(folder / "alive")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def healed(path: Path) -> list[str]:
    """One look at the Engine, and what follows from it: the services that it takes for killed."""
    now = time.time()
    ends = guard.killed(guard.events(str(path), "postroom", since=now - 60, until=now), now=now)
    for end in ends:
        guard.heal(str(path), end)
    return [end.service for end in ends]


@pytest.mark.parametrize(
    "happened",
    [
        pytest.param("start kill die", id="docker kill"),
        pytest.param("kill die", id="docker kill of one that was started long ago"),
        pytest.param("kill kill die", id="docker kill --signal=TERM in vain, then docker kill"),
        pytest.param("kill stop die start kill die", id="docker restart, then docker kill"),
        pytest.param("kill die start kill die", id="docker kill again after it was healed"),
        pytest.param("die start kill die", id="a crash, then docker kill"),
    ],
)
def test_killed_container_is_started_again(docker: Server, tmp_path: Path, happened: str) -> None:
    docker.tell(happened)
    assert healed(tmp_path / "docker.sock") == ["worker"]
    assert docker.started.get_nowait() == "c1" * 32


@pytest.mark.parametrize(
    "happened",
    [
        pytest.param("start kill stop die", id="docker stop"),
        pytest.param("kill die stop", id="docker stop, told in the other order"),
        pytest.param("kill kill stop die", id="docker stop of one that does not listen"),
        pytest.param("kill stop die destroy", id="docker compose down, or scaled away"),
        pytest.param("kill die destroy", id="docker rm --force"),
        pytest.param("kill stop die start", id="docker restart"),
        pytest.param("kill die start", id="docker kill, and healed already"),
        pytest.param("kill die start kill stop die", id="docker stop after docker kill was healed"),
        pytest.param("start kill", id="docker kill --signal=HUP, which it survives"),
        pytest.param("start die", id="a crash"),
        pytest.param("die stop", id="docker stop while Docker waits after a crash"),
        pytest.param("create start", id="nothing"),
    ],
)
def test_what_was_wished_or_is_docker_s_own_to_heal_is_left_alone(
    docker: Server, tmp_path: Path, happened: str
) -> None:
    docker.tell(happened)
    assert healed(tmp_path / "docker.sock") == []
    assert docker.started.empty()


def test_it_waits_whether_a_stop_is_told_after_the_end(docker: Server, tmp_path: Path) -> None:
    docker.tell(KILLED, seconds_ago=1)
    assert healed(tmp_path / "docker.sock") == []


@pytest.mark.parametrize("state", ["", "running", "restarting", "removing"])
def test_killed_container_that_is_gone_or_up_by_now_is_left_alone(docker: Server, tmp_path: Path, state: str) -> None:
    docker.tell(KILLED)
    docker.state = state
    healed(tmp_path / "docker.sock")
    assert docker.started.empty()


@pytest.mark.parametrize(("answer", "said"), [(204, "started again"), (304, ""), (404, ""), (500, "does not start")])
def test_only_who_has_started_it_says_so(
    docker: Server, tmp_path: Path, answer: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    docker.tell(KILLED)
    docker.starts_with = answer
    healed(tmp_path / "docker.sock")
    assert [said in line for line in caplog.messages] == ([True] if said else [])
    assert "worker c1c1c1c1c1c1" in "".join(caplog.messages) or not said


def test_it_asks_for_its_own_project_without_single_commands_and_for_what_is_past(
    docker: Server, tmp_path: Path
) -> None:
    healed(tmp_path / "docker.sock")
    labels = json.loads(docker.asked["filters"])["label"]
    assert labels == ["com.docker.compose.project=postroom", "com.docker.compose.oneoff=False"]
    assert float(docker.asked["since"]) < float(docker.asked["until"]) <= time.time()


def test_engine_that_breaks_off_is_asked_again_and_sigterm_ends_it_cleanly(docker: Server, tmp_path: Path) -> None:
    docker.tell(KILLED)
    docker.breaks = 1
    with running(tmp_path) as process:
        assert process.stderr is not None
        assert "worker c1c1c1c1c1c1 was killed; started again" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_without_an_engine_it_ends_after_a_while_and_is_not_alive(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    assert "does not answer" in guard.watch(str(tmp_path / "none.sock"), "postroom", alive, patience_seconds=0)
    assert not alive.exists()


def test_it_remembers_what_the_engine_forgets(docker: Server, tmp_path: Path) -> None:
    docker.tell("kill", seconds_ago=60)
    with running(tmp_path):
        deadline = time.monotonic() + 20
        while not (tmp_path / "alive").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        docker.events.clear()  # the Engine keeps the last 256 events of all containers
        docker.tell("die", seconds_ago=3)
        assert docker.started.get(timeout=20) == "c1" * 32
