"""A small disk that a test may fill."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import require


@contextmanager
def disk_of(size: int, point: Path) -> Iterator[Path]:
    """A file system of that size, mounted there."""
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(point)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    require(mounted.returncode == 0, "a small file system can be mounted by root only")
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", str(point)], check=True)
