"""The installed product as a process of its own: started, talked to over HTTP, stopped or killed."""

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

DEADLINE_SECONDS = 30.0


class Service:
    """`postroom run` on a free port, with its data in `folder`; the key of the first start is kept over restarts."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.key = ""
        self.address = ""
        self.output = ""
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts it and returns when it has told its address and answers `/livez`."""
        log = (self.folder / "log.txt").open("a")
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "postroom", "run"],
                cwd=self.folder,
                env=environment(self._settings),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.output = self._read_greeting()
        self.address = found(r"serves (http://\S+)", self.output)
        if "shown only now" in self.output:
            self.key = found(r"shown only now: (\S+)", self.output)
        wait_until(self._answers, "the service answers")

    def _read_greeting(self) -> str:
        """What it prints before it serves: complete when the documentation's or the key's last line is there."""
        process = self.process
        assert process.stdout is not None
        text, deadline = "", time.monotonic() + DEADLINE_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while time.monotonic() < deadline and process.poll() is None:
                if selector.select(0.2):
                    text += os.read(process.stdout.fileno(), 65_536).decode()
                if "/emails/ID" in text or "keys create" in text:
                    return text
        raise AssertionError(f"did not start (exit code {process.poll()}):\n{text}\n{self.log()}")

    def _answers(self) -> bool:
        try:
            return httpx.get(self.address + "/livez", timeout=2).is_success
        except httpx.HTTPError:
            return False

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The running process."""
        assert self._process is not None, "not started"
        return self._process

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process = self.process
        if process.poll() is None:
            process.send_signal(how)
        code = process.wait(DEADLINE_SECONDS)
        if process.stdout:
            process.stdout.close()
        return code

    def log(self) -> str:
        """All that it has logged so far, over restarts."""
        return (self.folder / "log.txt").read_text()

    def request(self, method: str, path: str, *, key: str | None = None, **arguments: Any) -> httpx.Response:
        """One request, with the key of the first start unless another is given."""
        headers = {"Authorization": f"Bearer {key or self.key}", **arguments.pop("headers", {})}
        return httpx.request(method, self.address + path, headers=headers, timeout=10, **arguments)

    def submit(self, idempotency_key: str | None = None, **members: Any) -> str:
        """Submits one email and returns its id."""
        email = {"from": "ann@example.com", "to": "bob@example.com", "subject": "s", "text": "t", **members}
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        answer = self.request("POST", "/emails", json=email, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def email(self, email_id: str) -> dict[str, Any]:
        """What the API tells of an email."""
        answer = self.request("GET", f"/emails/{email_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait_for(self, email_id: str, status: str, seconds: float = DEADLINE_SECONDS) -> dict[str, Any]:
        """Waits until the email has this status."""
        wait_until(lambda: self.email(email_id)["status"] == status, f"{email_id} is {status}", seconds)
        return self.email(email_id)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without its own POSTROOM_ variables, with these settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
    ours = {f"POSTROOM_{name.upper()}": value for name, value in settings.items()}
    return inherited | {"POSTROOM_PORT": "0"} | ours


def found(pattern: str, text: str) -> str:
    """The first group of the pattern in the text."""
    match = re.search(pattern, text)
    assert match, f"no {pattern!r} in:\n{text}"
    return match[1]


def wait_until(condition: Any, what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Polls until the condition holds; fails with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
