"""The comparison: all systems in one run, interleaved, so many rounds."""

from collections.abc import Sequence
from functools import partial

from bench import tables
from bench.options import Options
from bench.run import Row, Say, measure
from bench.summary import NOT_THE_SYSTEM, label, summarise
from bench.systems.base import Servers, System

WORKS = ("single", "batch")


def compare(
    systems: Sequence[System], works: Sequence[str], servers: Servers, options: Options, *, say: Say
) -> list[Row]:
    """Measures each system once in each round, one by one and in batches where it takes them."""
    plan = [
        (system, batch)
        for system in systems
        for name, batch in zip(WORKS, (1, options.batch), strict=True)
        if name in works and (batch == 1 or system.batches)
    ]
    rows = []
    for number in range(1, options.rounds + 1):
        for system, batch in plan:
            heading = f"round {number}/{options.rounds}  {label(system.name, batch)}: "
            row = measure(system, servers, options, batch=batch, say=partial(_labelled, say, heading))
            row.round = number
            rows.append(row)
            _labelled(say, heading, f"{brief(row)}\n")
    return rows


def _labelled(say: Say, heading: str, words: str) -> None:
    say(heading + words)


def text(rows: Sequence[Row], options: Options) -> str:
    """The tables for the terminal."""
    summaries = summarise(rows)
    parts = [
        tables.failures(summaries),
        tables.durability(summaries),
        tables.rates(summaries),
        tables.cpu(summaries),
        tables.memory(summaries),
        tables.ratios(summaries),
        tables.targets(summaries, options.batch),
    ]
    return "\n".join(part for part in parts if part)


def brief(row: Row) -> str:
    """A run in one line."""
    if row.failure:
        return f"FAILED: {row.failure}"
    system = sum(seconds for name, seconds in row.cpu.items() if name not in NOT_THE_SYSTEM)
    split = ", ".join(f"{name} {seconds * 1000 / row.n:.3f}" for name, seconds in row.cpu.items())
    return (
        f"submit {row.submit_rate:,.0f}/s (p50 {row.p50_ms:.1f} ms, p99 {row.p99_ms:.1f} ms), end to end"
        f" {row.end_to_end_rate:,.0f}/s, CPU s per 1,000: {system * 1000 / row.n:.3f} ({split}),"
        f" status {row.status_rate:,.0f}/s, foreign {row.foreign:.0%}"
    )
