"""Carries out a plan of faults, and notes when each began and ended."""

import threading
import time
from collections.abc import Sequence

from tests.chaos.faults import FAULTS, TARGETS, Strike
from tests.chaos.rig import Rig


class Nemesis:
    """One thread for each strike. Strikes on one target take turns; on different targets they overlap."""

    def __init__(self, rig: Rig, plan: Sequence[Strike]) -> None:
        self._rig = rig
        self._locks = {target: threading.Lock() for target in (*TARGETS.values(), "broker")}
        self._threads = [threading.Thread(target=self._carry_out, args=(strike,), daemon=True) for strike in plan]
        self._began = 0.0
        self.windows: list[tuple[float, float]] = []  # of every fault, monotonic
        self.failures: list[str] = []

    def start(self) -> None:
        """Begins now."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Returns when every fault is over."""
        for thread in self._threads:
            thread.join()

    def _carry_out(self, strike: Strike) -> None:
        time.sleep(max(0.0, self._began + strike.at - time.monotonic()))
        with self._locks[TARGETS.get(strike.fault, "broker")]:
            began = time.monotonic()
            try:
                FAULTS[strike.fault](self._rig, strike)
            except Exception as error:
                self.failures.append(f"{strike}: {type(error).__name__}: {error}")
            self.windows.append((began, time.monotonic()))
