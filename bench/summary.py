"""Many runs of one thing, as their medians."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench import stats
from bench.run import Row

NOT_THE_SYSTEM = ("client", "sink", "bench")  # groups whose CPU time is not the system's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The medians over the runs that passed. CPU is in seconds per 1,000 emails, memory in MB at its peak."""

    system: str
    batch: int
    n: int
    passed: int
    failures: tuple[str, ...]
    submit_rate: float
    p50_ms: float
    p99_ms: float
    end_to_end_rate: float
    slowest: float  # of the end to end rates
    fastest: float
    status_rate: float
    cpu: dict[str, float]
    cpu_system: float
    peak_mb: dict[str, float]
    foreign: float

    @property
    def label(self) -> str:
        """The system, and the size of its batches if there are any."""
        return label(self.system, self.batch)


def label(system: str, batch: int) -> str:
    """What a system with this work is called in tables."""
    return f"{system} x{batch}" if batch > 1 else system


def summarise(rows: Iterable[Row]) -> list[Summary]:
    """One summary for each system and batch size, in the order in which they came."""
    grouped: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.system, row.batch), []).append(row)
    return [_summary(system, batch, runs) for (system, batch), runs in grouped.items()]


def _summary(system: str, batch: int, runs: Sequence[Row]) -> Summary:
    good = [row for row in runs if not row.failure]

    def median(value: Callable[[Row], float]) -> float:
        return stats.median([value(row) for row in good])

    groups = list(dict.fromkeys(name for row in good for name in row.cpu))
    measured = list(dict.fromkeys(name for row in good for name in row.peak_mb))
    rates = [row.end_to_end_rate for row in good] or [math.nan]
    return Summary(
        system=system,
        batch=batch,
        n=runs[0].n,
        passed=len(good),
        failures=tuple(row.failure for row in runs if row.failure),
        submit_rate=median(lambda row: row.submit_rate),
        p50_ms=median(lambda row: row.p50_ms),
        p99_ms=median(lambda row: row.p99_ms),
        end_to_end_rate=stats.median(rates),
        slowest=min(rates),
        fastest=max(rates),
        status_rate=median(lambda row: row.status_rate),
        cpu={name: stats.median([_per_thousand(row, row.cpu.get(name, 0.0)) for row in good]) for name in groups},
        cpu_system=median(lambda row: _per_thousand(row, _system_cpu(row))),
        peak_mb={name: stats.median([row.peak_mb.get(name, 0.0) for row in good]) for name in measured},
        foreign=median(lambda row: row.foreign),
    )


def _system_cpu(row: Row) -> float:
    return sum(seconds for name, seconds in row.cpu.items() if name not in NOT_THE_SYSTEM)


def _per_thousand(row: Row, seconds: float) -> float:
    return seconds * 1000 / row.n
