"""CPU time and memory of groups of processes, and what else the machine was doing.

CPU seconds are user plus system time of each process tree, read from the kernel (psutil: /proc/PID/stat), those of
children that have ended and were waited for included. Memory is the proportional set size (PSS), sampled each second.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

SAMPLE_SECONDS = 1.0

Groups = Mapping[str, Sequence[int]]  # the process ids at the root of each group's trees


def cpu_seconds(groups: Groups) -> dict[str, float]:
    """What the processes of each group and all below them have used since their start."""
    # user and system time, and both of children that were waited for
    return _summed(groups, lambda process: float(sum(process.cpu_times()[:4])))


def memory_mb(groups: Groups) -> dict[str, float]:
    """The proportional set size of each group now."""
    return _summed(groups, lambda process: process.memory_full_info().pss / 1e6)


def _summed(groups: Groups, value: Callable[[psutil.Process], float]) -> dict[str, float]:
    sums = dict.fromkeys(groups, 0.0)
    for name, processes in _trees(groups).items():
        for process in processes:
            with suppress(psutil.Error):  # it has just ended; its parent has its time now
                sums[name] += value(process)
    return sums


def _trees(groups: Groups) -> dict[str, list[psutil.Process]]:
    """The processes of each group, from one look at all processes."""
    children: dict[int, list[psutil.Process]] = defaultdict(list)
    by_pid: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            children[process.ppid()].append(process)
            by_pid[process.pid] = process
    trees = {}
    for name, pids in groups.items():
        tree = [by_pid[pid] for pid in pids if pid in by_pid]
        for process in tree:  # which grows meanwhile
            tree += children[process.pid]
        trees[name] = tree
    return trees


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times[:3]) + sum(times[5:8]))  # user, nice, system; irq, softirq, steal; neither idle nor iowait


@dataclass(slots=True, kw_only=True)
class Reading:
    """What was used between start and stop. `foreign` is the share of the machine that others used."""

    seconds: float
    cpu: dict[str, float]
    peak_mb: dict[str, float]
    foreign: float
    memory_series: list[dict[str, float]] = field(default_factory=list)


class Meter:
    """Reads the groups from `start` to `stop`."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._done = threading.Event()
        self._peak: dict[str, float] = defaultdict(float)
        self._series: list[dict[str, float]] = []
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._before = self._now()
        self._sampler.start()

    def stop(self, *, more: Mapping[str, float]) -> Reading:
        """Ends, and tells. `more` is CPU time that was measured elsewhere, such as the client's."""
        cpu, ours, busy, at = self._now()
        cpu_before, ours_before, busy_before, started_at = self._before
        self._done.set()
        self._sampler.join()
        seconds = at - started_at
        used = {name: cpu[name] - cpu_before[name] for name in cpu}
        known = sum(used.values()) + sum(more.values()) + (ours - ours_before)
        foreign = max(0.0, (busy - busy_before) - known) / (seconds * (psutil.cpu_count() or 1))
        return Reading(
            seconds=seconds,
            cpu=used | dict(more) | {"bench": ours - ours_before},
            peak_mb=dict(self._peak),
            foreign=foreign,
            memory_series=self._series,
        )

    def _now(self) -> tuple[dict[str, float], float, float, float]:
        return cpu_seconds(self._groups), time.process_time(), _busy_seconds(), time.monotonic()

    def _sample(self) -> None:
        while True:
            sample = memory_mb(self._groups)
            self._series.append(sample)
            for name, value in sample.items():
                self._peak[name] = max(self._peak[name], value)
            if self._done.wait(SAMPLE_SECONDS):
                return
