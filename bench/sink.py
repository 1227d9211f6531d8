"""Where all email ends: `smtp-sink`, or for delays below a second our own, and the ledger of what has arrived."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import started
from tests.servers import free_port

SUBJECT, MESSAGE_ID = b"\nSubject: ", b"\nMessage-Id: "


class Ledger:
    """Reads what the sink has written, and counts messages by a header that is different in each."""

    def __init__(self, file: Path, header: bytes = SUBJECT) -> None:
        self._file = file
        self._header = header
        self._position = 0
        self._rest = b""
        self.count = 0
        self.names: set[bytes] = set()
        self.grown_at = 0.0  # on the monotonic clock

    def read(self) -> int:
        """Reads on; returns how many messages have arrived in all."""
        if not self._file.exists():
            return 0
        with self._file.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        self._position += len(data)
        before = self.count
        self._take(data)
        if self.count > before:
            self.grown_at = time.monotonic()
        return self.count

    def _take(self, data: bytes) -> None:
        """Counts whole header lines; what may be the start of one waits for the next reading."""
        parts = (self._rest + data).split(self._header)
        last, newline, rest = parts[-1].partition(b"\n")
        complete = parts[1:] if newline or len(parts) == 1 else parts[1:-1]
        for part in complete:
            self.count += 1
            self.names.add(part.partition(b"\n")[0].strip())
        if len(parts) > 1 and not newline:
            self._rest = self._header + last
        else:
            self._rest = (newline + rest if len(parts) > 1 else parts[0])[-len(self._header) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """A running sink."""

    port: int
    pid: int
    ledger: Ledger


@contextmanager
def inbox(name: str) -> Iterator[Path]:
    """A folder for what a sink gets, in memory where there is such a place: on a disk, the databases' syncs would wait
    for the sink's file."""
    memory = Path("/dev/shm")  # noqa: S108  # readable by Postfix's sink, and ours alone to write
    folder = Path(tempfile.mkdtemp(prefix=name, dir=memory if memory.is_dir() else None))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sink(folder: Path, *, delay_ms: int = 0, header: bytes = SUBJECT) -> Iterator[Sink]:
    """A sink that keeps what it gets in this folder."""
    port, file = free_port(), folder / "messages"
    if delay_ms:
        command = [sys.executable, "-m", "bench.slow_sink", str(port), str(file), str(delay_ms)]
    else:
        command = ["smtp-sink", "-D", str(file), f"127.0.0.1:{port}", "1000"]
        if os.geteuid() == 0:
            shutil.chown(folder, "postfix")
            command[1:1] = ["-u", "postfix"]
    with started(command, folder / "sink.log", port=port) as process:
        yield Sink(port=port, pid=process.pid, ledger=Ledger(file, header))
