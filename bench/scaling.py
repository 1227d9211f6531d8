"""What more load needs: arithmetic from the CPU time that each part was measured to take for an email."""

import math
from collections.abc import Sequence

from bench import tables
from bench.summary import Summary

RATES = (100, 1_000, 10_000, 100_000)  # emails per second
UTILISATION = 0.6  # a core that is busier answers late
PARTS = ("api", "workers", "sweep", "broker", "store")


def cores(summary: Summary, part: str, rate: float) -> float:
    """How many cores a part needs to carry that rate at our utilisation."""
    return rate / 1000 * summary.cpu.get(part, math.nan) / UTILISATION


def table(summaries: Sequence[Summary]) -> str:
    """Cores for each part, at each rate, for each summary of a distributed system."""
    lines = []
    for summary in summaries:
        for rate in RATES:
            needed = [cores(summary, part, rate) for part in PARTS]
            a_day = rate * 86_400 / 1e6
            lines.append(
                (
                    summary.label,
                    tables.number(rate),
                    tables.number(a_day, 1 if a_day < 100 else 0),
                    *(tables.number(one, 1) for one in (*needed, sum(needed))),
                )
            )
    return tables.table(("work", "emails/s", "million a day", *(f"{part} cores" for part in PARTS), "all"), lines)
