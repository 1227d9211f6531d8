"""Starts the load generator and brings its answer."""

import json
import subprocess
import sys
import uuid
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
        self._order.write_text(json.dumps({"target": asdict(target), "connections": connections, **order}))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.load", str(self._order), str(self._answer)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError("the load generator could not connect")

    def go(self) -> None:
        """Starts the load."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self.process.poll() is None

    def answer(self) -> Answer:
        """What came of it."""
        if code := self.process.wait():
            raise RuntimeError(f"the load generator failed (exit code {code})")
        return Answer(**json.loads(self._answer.read_text()))

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
