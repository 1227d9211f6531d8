"""How a stop reaches the turns under way in a worker's child processes."""

import mmap
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LAST_WORD_SECONDS = 1.0  # what a child needs to tell its parent the result of a task


class StopFlag:
    """One byte of memory that a parent and the children it forks later share. Setting it takes no lock, so that a
    signal handler may."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Asks every turn to end soon."""
        self._byte[0] = 1

    def is_set(self) -> bool:
        """Whether turns should end."""
        return self._byte[0] == 1


@contextmanager
def sigterm_asks(ask: Callable[[], None]) -> Iterator[None]:
    """Meanwhile SIGTERM calls `ask` instead of ending this process at once; it ends after its task has been reported.

    Platforms that signal the whole process group would else break off every hand-off under way.
    """
    received: list[int] = []

    def heard(signum: int, _frame: object) -> None:
        received.append(signum)
        ask()

    previous = signal.signal(signal.SIGTERM, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
        if received:
            end = threading.Timer(LAST_WORD_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
            end.daemon = True
            end.start()
