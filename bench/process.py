"""Processes that the bench starts, and ends by their pid."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 20.0
ROOT = Path(__file__).parent.parent

Process = subprocess.Popen[bytes]


@contextmanager
def started(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    says: str | None = None,
) -> Iterator[Process]:
    """A process that listens on the port, or has said these words; SIGTERM at the end, and SIGKILL to its group."""
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("POSTROOM_", "CELERY_"))}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=inherited | dict(environment or {}),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        _wait(process, log, port, says)
        yield process
    finally:
        _end(process)


def _wait(process: Process, log: Path, port: int | None, says: str | None) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ((port is None or _listens(port)) and (says is None or says in log.read_text(errors="replace"))):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{log.stem} does not start:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _end(process: Process) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
