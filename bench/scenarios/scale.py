"""More processes, slower relays, more load: rates of the same work under other conditions."""

from collections.abc import Sequence

from bench.scenarios.base import Bench, Findings, system_cpu
from bench.stats import percentile
from bench.tables import percent

CHILDREN = (1, 2, 4)
DELAYS_MS = (0, 20, 200)
SENDERS = 2  # children in batches, or threads of the embedded worker, each with connections of its own
SHARES = (0.1, 0.5, 0.9)
LOAD_SECONDS = 15


def children(bench: Bench) -> Sequence[Findings]:
    """Emails per second with 1, 2 and 4 worker children."""
    lines = []
    for system in bench.systems or ("mongo",):
        for batch in (1, bench.options.batch):
            for count in CHILDREN:
                row = bench.measure(system, what=f"{count} children", batch=batch, children=count, batch_children=count)
                memory = row.peak_mb.get("workers", 0.0)
                lines.append((system, batch, count, row.end_to_end_rate, system_cpu(row), memory, percent(row.foreign)))
    head = ("system", "batch", "children", "end to end/s", "CPU s per 1,000", "workers' peak MB", "foreign")
    return [Findings(name="children", head=head, lines=lines, rows=bench.rows)]


def relay(bench: Bench) -> Sequence[Findings]:
    """Emails per second with a relay that takes 0, 20 or 200 ms for each message, with 20 connections and with 100."""
    lines = []
    for system in bench.systems or ("mongo", "embedded"):
        for delay in DELAYS_MS:
            for connections in (20, 100) if delay else (20,):
                row = bench.measure(
                    system,
                    what=f"relay of {delay} ms, {connections} connections",
                    batch=bench.options.batch,
                    delay_ms=delay,
                    n=bench.options.n or (3000 if delay > 100 else 8000),
                    relay_connections=connections,
                )
                bound = SENDERS * connections * 1000 / delay if delay else "-"
                lines.append(
                    (system, delay, connections, row.end_to_end_rate, bound, system_cpu(row), percent(row.foreign))
                )
    head = ("system", "relay ms", "connections", "end to end/s", "connections / delay", "CPU s per 1,000", "foreign")
    return [Findings(name="relay", head=head, lines=lines, rows=bench.rows)]


def latency(bench: Bench) -> Sequence[Findings]:
    """Submit latency at a tenth, half and nine tenths of what the system carries end to end, one by one."""
    lines = []
    for system in bench.systems or ("mongo", "embedded"):
        full = bench.measure(system, what="capacity")
        if full.failure:
            continue
        for share in SHARES:
            rate = full.end_to_end_rate * share
            row = bench.measure(
                system, what=f"{share:.0%} of capacity", rate=rate, n=int(rate * LOAD_SECONDS), connections=64
            )
            lines.append(
                (
                    system,
                    f"{share:.0%}",
                    rate,
                    row.p50_ms,
                    row.p99_ms,
                    row.end_to_end_rate,
                    system_cpu(row),
                    percent(row.foreign),
                )
            )
    head = ("system", "load", "submitted/s", "p50 ms", "p99 ms", "end to end/s", "CPU s per 1,000", "foreign")
    return [Findings(name="latency", head=head, lines=lines, rows=bench.rows)]


def memory(bench: Bench) -> Sequence[Findings]:
    """Memory of each part while 200,000 emails pass, in batches."""
    lines = []
    for system in bench.systems or ("mongo", "embedded"):
        n = bench.options.n or 200_000
        row = bench.measure(system, what=f"{n:,} emails", batch=bench.options.batch, n=n, read_back=10_000)
        for part in row.peak_mb:
            series = [sample[part] for sample in row.memory_series]
            tenth = max(1, len(series) // 10)
            early, late = percentile(series[tenth : 2 * tenth], 0.5), percentile(series[-tenth:], 0.5)
            lines.append((system, part, n, series[0], early, late, row.peak_mb[part]))
    head = ("system", "part", "emails", "MB at the start", "after a tenth", "at the end", "peak")
    return [Findings(name="memory", head=head, lines=lines, rows=bench.rows)]
