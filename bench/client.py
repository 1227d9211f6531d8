"""Starts the load generator and brings its answer."""

import json
import subprocess
import sys
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.load import Answer
from bench.work import Target


class Client:
    """One load, ready to start. `go` starts it, `answer` waits for its end."""

    def __init__(self, folder: Path, target: Target, *, connections: int, **order: Any) -> None:
        name = uuid.uuid4().hex[:8]
        self._order, self._answer = folder / f"order-{name}.json", folder / f"answer-{name}.json"
        self._done = folder / f"done-{name}"
        self._order.write_text(json.dumps({"target": asdict(target), "connections": connections, **order}))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.load", str(self._order), str(self._answer), str(self._done)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError("the load generator could not connect")

    def go(self) -> None:
        """Starts the load."""
        self._say(b"go\n")

    @property
    def running(self) -> bool:
        """Whether it still waits for answers."""
        return self.process.poll() is None and not self._done.exists()

    def answer(self) -> Answer:
        """What came of it; waits for its end."""
        self._say(b"tell\n")
        if code := self.process.wait():
            raise RuntimeError(f"the load generator failed (exit code {code})")
        return Answer(**json.loads(self._answer.read_text()))

    def _say(self, word: bytes) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # then `answer` tells that it failed
            self.process.stdin.write(word)
            self.process.stdin.flush()

    def close(self) -> None:
        """Ends it, whatever it does."""
        self.process.kill()
        self.process.communicate()


def load(folder: Path, target: Target, *, connections: int, **order: Any) -> Answer:
    """Carries out one load from start to end."""
    client = Client(folder, target, connections=connections, **order)
    try:
        client.go()
        return client.answer()
    finally:
        client.close()
