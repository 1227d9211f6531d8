"""Submits by SMTP: `smtp-source`, which comes with Postfix."""

import os
import subprocess
import time

from bench.load import Answer
from bench.work import TEXT_BYTES


class SmtpSource:
    """So many messages over so many connections that stay open. It tells no latencies."""

    def __init__(self, port: int, count: int, *, connections: int) -> None:
        sessions = ("-s", str(connections), "-d", "-m", str(count), "-l", str(TEXT_BYTES))
        self._command = [
            "smtp-source",
            *sessions,
            "-f",
            "ann@example.com",
            "-t",
            "bob@example.net",
            f"127.0.0.1:{port}",
        ]
        self._count = count
        self._process: subprocess.Popen[bytes] | None = None
        self._answer: Answer | None = None

    def go(self) -> None:
        """Starts it."""
        self._answer = Answer(started_at=time.monotonic())
        self._process = subprocess.Popen(self._command)

    @property
    def running(self) -> bool:
        """Whether it still submits."""
        self._look(os.WNOHANG)
        return self._process is not None

    def answer(self) -> Answer:
        """What came of it."""
        self._look(0)
        assert self._answer is not None
        return self._answer

    def close(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _look(self, how: int) -> None:
        """Waits for its end, or looks whether it has come."""
        if self._process is None or self._answer is None:
            return
        pid, status, usage = os.wait4(self._process.pid, how)
        if pid:
            self._answer.ended_at = time.monotonic()
            self._answer.cpu_seconds = usage.ru_utime + usage.ru_stime
            self._answer.codes = {"250" if status == 0 else f"wait status {status}": self._count}
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self._process = None
