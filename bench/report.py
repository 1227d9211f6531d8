"""Writes docs/performance.md and its plot from what was measured: `make bench-report`.

Only what stands between `<!-- bench:NAME -->` and `<!-- /bench -->` is written; the rest of the page is prose.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench import results, scaling, stats, tables
from bench.plot import Bar, Panel, svg
from bench.process import ROOT
from bench.run import Row
from bench.scenarios.base import table
from bench.summary import Summary, summarise

PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"
OURS = ("mongo", "redis", "embedded")
DISTURBED = 0.25  # a share of the machine; above it, rates mean little
SECTION_NAMES = {"memory": "memory-scenario"}  # of scenarios, where the comparison has a section of that name

_SECTION = re.compile(r"(<!-- bench:([a-z-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def main() -> None:
    """Publishes the latest results and writes the page."""
    published = results.publish()
    texts = sections(published)
    page = PAGE.read_text(encoding="utf-8")
    missing = [name for _, name, _ in _SECTION.findall(page) if name not in texts]
    PAGE.write_text(written(page, texts), encoding="utf-8")
    if "compare" in published:
        PLOT.write_text(plot(_summaries(published["compare"])), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
    if missing:
        sys.stdout.write(f"not measured yet, left as they were: {', '.join(missing)}\n")


def written(page: str, texts: Mapping[str, str]) -> str:
    """The page with these sections in place of its old ones; those that are not there stay."""

    def section(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        return f"{start}{texts[name]}{end}" if name in texts else match.group()

    return _SECTION.sub(section, page)


def sections(published: Mapping[str, Any]) -> dict[str, str]:
    """The text of each section that something is known for."""
    texts: dict[str, str] = {}
    if compared := published.get("compare"):
        summaries, batch = _summaries(compared), int(compared["options"]["batch"])
        texts |= {
            "facts": _facts(compared),
            "targets": _caution(compared) + tables.targets(summaries, batch),
            "rates": _caution(compared) + tables.rates(summaries),
            "cpu": tables.cpu(summaries),
            "memory": tables.memory(summaries),
            "ratios": tables.ratios(summaries),
            "durability": tables.durability(summaries),
            "scaling": scaling.table([s for s in summaries if s.system in ("mongo", "redis")]),
        }
    for name, found in published.items():
        if "head" in found:
            texts[SECTION_NAMES.get(name, name)] = _caution(found) + table(found["head"], found["lines"])
    return texts


def plot(summaries: Sequence[Summary]) -> str:
    """The figure: rates and costs."""

    def panel(title: str, value: Callable[[Summary], float], digits: int) -> Panel:
        known = [s for s in summaries if not math.isnan(value(s))]
        return Panel(title, [Bar(s.label, value(s), tables.number(value(s), digits), s.system in OURS) for s in known])

    return svg(
        [
            panel("Emails per second, end to end (more is better)", lambda s: s.end_to_end_rate, 0),
            panel("CPU seconds per 1,000 emails, client and sink left out (less is better)", lambda s: s.cpu_system, 2),
        ]
    )


def _summaries(compared: Mapping[str, Any]) -> list[Summary]:
    return summarise(Row(**row) for row in compared["rows"])


def _caution(content: Mapping[str, Any]) -> str:
    """A warning when the machine was busy with other things."""
    foreign = stats.median([row["foreign"] for row in content["rows"]])
    if not foreign > DISTURBED:
        return ""
    return (
        f"> **Disturbed:** other programs used {foreign:.0%} of this machine meanwhile (median of the runs). Rates,\n"
        "> latencies and what follows from them are no result; CPU seconds are good to about 30 %.\n\n"
    )


def _facts(content: Mapping[str, Any]) -> str:
    facts, options = content["facts"], content["options"]
    servers = ", ".join(f"{name} {version}" for name, version in facts["servers"].items() if version)
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return (
        f"Machine: {facts['machine']}. Python {facts['python']}.\n"
        f"Servers: {servers}.\nPackages: {packages}.\n"
        f"Postroom: {options['api_processes']} API process, {options['workers']} worker, {options['children']} child"
        f" ({options['batch_children']} for batches), {options['relay_connections']} connections of each to the sink.\n"
        f"Client: {options['connections']} connections one by one, {options['batch_connections']} with batches of"
        f" {options['batch']}. {options['rounds']} rounds, medians.\n"
    )


if __name__ == "__main__":
    main()
