"""A simulated relay that takes one to four seconds for each email: what one worker process carries, and holds."""

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.client import load
from bench.meters import Meter
from bench.run import Row, Wrong
from bench.scenarios.base import Bench, Findings, system_cpu
from bench.systems.registry import ALL
from bench.tables import percent
from bench.work import WARM_UP

DEADLINE_SECONDS = 300.0


def simulated(bench: Bench) -> Sequence[Findings]:
    """Emails per second with one child, from the first submission until the last status is recorded."""
    lines = []
    for system in bench.systems or ("mongo", "embedded"):
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        row = _measure(bench, system, folder)
        bench.rows.append(row)
        shutil.rmtree(folder, ignore_errors=True)
        part = "workers" if "workers" in row.peak_mb else "all in one"
        series = [sample[part] for sample in row.memory_series]
        middle, end = series[len(series) // 2], series[-1]
        lines.append((system, row.n, row.end_to_end_rate, system_cpu(row), middle, end, percent(row.foreign)))
    head = ("system", "emails", "emails/s per process", "CPU s per 1,000", "MB half-way", "MB at the end", "foreign")
    return [Findings(name="simulated", head=head, lines=lines, rows=bench.rows)]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise Wrong(f"not settled within {DEADLINE_SECONDS:.0f} s")
        time.sleep(0.1)


def _measure(bench: Bench, system: str, folder: Path) -> Row:
    """Like any run, but there is no sink: the system's own statuses are all that tells."""
    n, batch = bench.options.n or 20_000, bench.options.batch
    row = Row(system=system, batch=batch, n=n)
    with ALL[system].start(bench.servers, folder, 0, bench.options) as running:
        assert running.target is not None
        name, target = uuid.uuid4().hex[:8], running.target
        load(folder, target, connections=1, run=name, numbers=(0, WARM_UP), batch=batch)
        _until(lambda: running.settled(WARM_UP))
        meter = Meter(running.groups)
        meter.start()
        answer = load(
            folder,
            target,
            connections=bench.options.batch_connections,
            run=name,
            numbers=(WARM_UP, WARM_UP + n),
            batch=batch,
        )
        bench.say(f"{system}: submitted {n:,} within {answer.ended_at - answer.started_at:.1f} s; being delivered")
        _until(lambda: running.settled(n))
        row.seconds = time.monotonic() - answer.started_at
        reading = meter.stop(more={"client": answer.cpu_seconds})
        row.end_to_end_rate = n / row.seconds
        row.cpu, row.peak_mb, row.foreign = reading.cpu, reading.peak_mb, reading.foreign
        row.memory_series = reading.memory_series
        paths = [f"/emails/{one}" for one in answer.ids[:: max(1, n // 5000)]]
        statuses = load(folder, target, connections=bench.options.connections, paths=paths).statuses
        if statuses != {target.sent: len(paths)}:
            row.failure = f"statuses read back: {statuses}"
    bench.say(f"{system}: {row.end_to_end_rate:,.0f} emails/s {row.failure}\n")
    return row
