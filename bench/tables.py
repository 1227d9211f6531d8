"""The tables, in Markdown that also reads well on a terminal."""

import math
from collections.abc import Mapping, Sequence

from bench.summary import Summary
from bench.systems.registry import ALL
from bench.targets import TARGETS

UNKNOWN = "-"
PARTS = ("api", "workers", "sweep", "broker", "store", "all in one")


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned; all but the first are numbers, to the right."""
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    rule = [("-" * width) if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join(_line(cells, widths) for cells in (head, rule, *lines)) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def number(value: float, digits: int = 0) -> str:
    """A figure for people; a dash when it is not known."""
    return UNKNOWN if math.isnan(value) else f"{value:,.{digits}f}"


def percent(value: float) -> str:
    """A share of one, for people."""
    return UNKNOWN if math.isnan(value) else f"{value:.0%}"


def rates(summaries: Sequence[Summary]) -> str:
    """How fast each system is."""
    head = (
        *("system", "N", "submit/s", "p50 ms", "p99 ms", "end to end/s", "range", "status reads/s"),
        *("foreign CPU", "runs"),
    )
    return table(
        head,
        [
            (
                s.label,
                number(s.n),
                number(s.submit_rate),
                number(s.p50_ms, 1),
                number(s.p99_ms, 1),
                number(s.end_to_end_rate),
                f"{number(s.slowest)}-{number(s.fastest)}",
                number(s.status_rate),
                percent(s.foreign),
                f"{s.passed}/{s.passed + len(s.failures)}",
            )
            for s in summaries
        ],
    )


def cpu(summaries: Sequence[Summary]) -> str:
    """What each email costs."""
    head = ("CPU s per 1,000", "system", "api", "workers", "sweep", "broker", "store", "sink", "client", "bench")
    return table(
        head,
        [
            (
                s.label,
                number(s.cpu_system, 3),
                *(_part(s.cpu, name, 3) for name in head[2:]),
            )
            for s in summaries
        ],
    )


def memory(summaries: Sequence[Summary]) -> str:
    """What each system holds."""
    head = ("peak PSS, MB", *PARTS)
    return table(head, [(s.label, *(_part(s.peak_mb, name, 0) for name in PARTS)) for s in summaries])


def ratios(summaries: Sequence[Summary], bases: Sequence[str] = ("naive", "naive-durable", "postfix")) -> str:
    """Each system as a multiple of others."""
    by_label = {s.label: s for s in summaries}
    known = [by_label[base] for base in bases if base in by_label]
    head = ("ratio", *(f"{what} / {base.label}" for base in known for what in ("end to end", "CPU")))
    lines = []
    for s in summaries:
        cells = [s.label]
        for base in known:
            cells.append(f"{number(s.end_to_end_rate / base.end_to_end_rate, 2)}x")
            cells.append(_cheaper(s.cpu_system / base.cpu_system))
        lines.append(cells)
    return table(head, lines)


def targets(summaries: Sequence[Summary], batch: int) -> str:
    """What was to be reached, and what was."""
    by_label = {s.label: s for s in summaries}
    lines = []
    for target in TARGETS:
        reached = target.reached(by_label, batch)
        if math.isnan(reached):
            continue
        show = _cheaper if target.measure.startswith("CPU") else _times
        verdict = "yes" if target.met(reached) else "NO"
        wanted = map(show, (target.limit, target.aim, reached))
        lines.append((target.ours[0], f"{target.measure}, vs {target.base}", *wanted, verdict))
    return table(("system", "measure", "at least", "aim", "reached", "met"), lines) if lines else ""


def durability(summaries: Sequence[Summary]) -> str:
    """What each system promises, so that like is compared with like."""
    names = list(dict.fromkeys(s.system for s in summaries))
    lines = [f"| `{name}` | {ALL[name].title} | {ALL[name].durability} |" for name in names]
    return "\n".join(("| system | what it is | durability |", "| --- | --- | --- |", *lines)) + "\n"


def failures(summaries: Sequence[Summary]) -> str:
    """The runs that count for nothing, and why."""
    return "".join(f"FAILED: {s.label}: {reason}\n" for s in summaries for reason in s.failures)


def _part(values: Mapping[str, float], name: str, digits: int) -> str:
    return number(values[name], digits) if name in values else UNKNOWN


def _times(value: float) -> str:
    return f"{number(value, 2)}x"


def _cheaper(value: float) -> str:
    """A small ratio as a fraction of one."""
    return UNKNOWN if math.isnan(value) else f"1/{1 / value:.1f}" if value < 1 else f"{value:.2f}x"
