"""Keeps a second process away from the store's file, by a lock that ends with its holder."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from postroom.errors import StoreLocked
from postroom.store.sqlite import faults


class StoreLock:
    """Holds `<path>.lock` from construction to `release`; a kill -9 releases it too. The file itself stays, because
    to remove it would let two processes hold one each."""

    def __init__(self, path: Path) -> None:
        """Raises `StoreLocked` when another store object, in this process or another, holds it."""
        name = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise faults.of_file(name, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise StoreLocked(
                f"{path} is in use by the process with pid {holder}: stop that process, or name another file"
            ) from error
        except OSError as error:
            self.release()
            raise faults.of_file(name, error) from error
        with suppress(OSError):  # a full disk is no reason not to finish what was accepted
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets the next process in. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
