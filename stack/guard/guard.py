"""The guard: starts again what `docker kill` ended, for Docker takes that for a wish and no restart policy heals it.

Every second it asks the Engine what has lately happened to the containers of its own Compose project, and to no others.
docs/adr/0008 says why it is there; run as `guard.py PROJECT SOCKET`.
"""

import contextlib
import http.client
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import urlencode

API = "/v1.44"  # of Engine 25
PAUSE_SECONDS = 1.0
SETTLE_SECONDS = 2.0  # the Engine tells of a stop within milliseconds of the end, before it or after
WINDOW_SECONDS = 150.0  # a worker that is told to end takes up to 60 s; Docker starts a guard that failed within 60 s
PATIENCE_SECONDS = 30.0  # without the Engine; then it ends, and Docker starts it with the socket as it is by then

log = logging.getLogger("guard")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Event:
    """What happened to a container."""

    at: float
    action: str
    container: str
    service: str


class Engine(http.client.HTTPConnection):
    """Docker's Engine, by its socket: one connection for one request."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, method: str, resource: str) -> tuple[int, str]:
    """One request to the Engine behind that socket: status and body."""
    with contextlib.closing(Engine(path)) as engine:
        engine.request(method, API + resource)
        answer = engine.getresponse()
        return answer.status, answer.read().decode()


def events(path: str, project: str, *, since: float, until: float) -> Iterator[Event]:
    """What the Engine remembers of the project's containers; those of `docker compose run` are nobody's to start."""
    filters = {
        "type": ["container"],
        "event": ["start", "kill", "stop", "die", "destroy"],
        "label": [f"com.docker.compose.project={project}", "com.docker.compose.oneoff=False"],
    }
    query = {"since": f"{since:.6f}", "until": f"{until:.6f}", "filters": json.dumps(filters)}
    status, text = ask(path, "GET", "/events?" + urlencode(query))
    if status != http.HTTPStatus.OK:
        raise OSError(f"the Engine answered {status}: {text.strip()}")
    for told in map(json.loads, text.splitlines()):
        service = told["Actor"]["Attributes"]["com.docker.compose.service"]
        yield Event(at=told["timeNano"] / 1e9, action=told["Action"], container=told["Actor"]["ID"], service=service)


def killed(happened: Iterable[Event], *, now: float) -> list[Event]:
    """The ends that `docker kill` brought about, whatever the signal: a kill and an end, and no stop in the same life.

    `docker stop` and `restart`, and whatever Compose does, are stops; a crash is no kill, and Docker's own to heal.
    """
    lives: dict[str, dict[str, Event]] = {}
    for event in sorted(happened):
        if event.action == "start":
            lives[event.container] = {}
        else:
            lives.setdefault(event.container, {})[event.action] = event
    ended = [life["die"] for life in lives.values() if life.keys() == {"kill", "die"}]
    return [end for end in ended if now - end.at >= SETTLE_SECONDS]


def heal(path: str, end: Event) -> None:
    """Starts that container again, if it still is there and ended; two guards that do so at once do it once."""
    status, text = ask(path, "GET", f"/containers/{end.container}/json")
    if status != http.HTTPStatus.OK or json.loads(text)["State"]["Status"] != "exited":
        return
    status, text = ask(path, "POST", f"/containers/{end.container}/start")
    if status == http.HTTPStatus.NO_CONTENT:
        log.info("%s %s was killed; started again", end.service, end.container[:12])
    elif status not in (http.HTTPStatus.NOT_MODIFIED, http.HTTPStatus.NOT_FOUND):
        log.warning("%s %s was killed and does not start: %s", end.service, end.container[:12], text.strip())


def watch(path: str, project: str, alive: Path, *, patience_seconds: float = PATIENCE_SECONDS) -> str:
    """Heals until the Engine has not answered for a while; returns why."""
    seen: set[Event] = set()  # the Engine itself keeps its last 256 events, health checks included
    answered = time.monotonic()
    while True:
        now = time.time()
        try:
            seen.update(events(path, project, since=now - WINDOW_SECONDS, until=now))
            seen = {event for event in seen if event.at > now - WINDOW_SECONDS}
            for end in killed(seen, now=now):
                heal(path, end)
            alive.touch()
            answered = time.monotonic()
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() - answered > patience_seconds:
                return f"the Engine does not answer: {error}"
        time.sleep(PAUSE_SECONDS)


def leave(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM is no failure."""
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, leave)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(watch(sys.argv[2], sys.argv[1], Path(os.environ["POSTROOM_WORKER_ALIVE_FILE"])))
