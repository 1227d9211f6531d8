"""What a scenario is, and the table that it ends with."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench import tables
from bench.compare import brief
from bench.options import Options
from bench.run import Row, Say, measure
from bench.summary import label, summarise
from bench.systems.base import Servers
from bench.systems.registry import ALL

Cell = str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """A table of what was found, under a name, and the runs behind it."""

    name: str
    head: Sequence[str]
    lines: Sequence[Sequence[Cell]]
    rows: Sequence[Row] = ()

    @property
    def failed(self) -> bool:
        """Whether a run did not count."""
        return any(row.failure for row in self.rows)


@dataclass(slots=True, kw_only=True)
class Bench:
    """What a scenario measures with. `systems` are those that were asked for, or the scenario's own choice."""

    servers: Servers
    options: Options
    systems: Sequence[str]
    say: Say
    rows: list[Row] = field(default_factory=list)

    def measure(self, system: str, *, what: str, batch: int = 1, **changes: Any) -> Row:
        """One run with these options changed. A run that fails is kept and told like any other."""
        heading = f"{label(system, batch)}, {what}: "
        options = replace(self.options, **changes)
        row = measure(ALL[system], self.servers, options, batch=batch, say=lambda words: self.say(heading + words))
        self.rows.append(row)
        self.say(f"{heading}{brief(row)}\n")
        return row


Scenario = Callable[[Bench], Sequence[Findings]]


def as_json(findings: Findings, options: Options) -> dict[str, Any]:
    """For the results."""
    rows = [asdict(row) | {"memory_series": []} for row in findings.rows]
    return {
        "head": list(findings.head),
        "lines": [list(line) for line in findings.lines],
        "options": asdict(options),
        "rows": rows,
    }


def table(head: Sequence[str], lines: Sequence[Sequence[Cell]]) -> str:
    """The table of the findings."""
    return tables.table(head, [[_cell(cell) for cell in line] for line in lines])


def system_cpu(row: Row) -> float:
    """CPU seconds of the system for 1,000 emails."""
    return summarise([row])[0].cpu_system


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    digits = 0 if isinstance(cell, int) or cell >= 100 else 1 if cell >= 10 else 3 if cell < 1 else 2
    return tables.number(cell, digits)
