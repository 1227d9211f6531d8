"""A store that is already full: what an email costs then, and what a page costs."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from bench.client import load
from bench.meters import Meter
from bench.scenarios import prefill
from bench.scenarios.base import Bench, Cell, Findings, system_cpu
from bench.stats import percentile
from bench.systems.base import Running
from bench.systems.registry import ALL
from bench.tables import percent
from postroom import settings, wiring
from postroom.mail.email import Email
from postroom.store.base import Store

READS = 1000
TURN = 250  # of them, before what they are compared with has its turn
READ = "read by id"
HOUR = timedelta(hours=1)
AT_MOST = 3.0  # times a read by id
REWRITE_SECONDS = 300.0  # that Redis may take to rewrite its append-only file


@contextmanager
def _store(bench: Bench, system: str) -> Iterator[str]:
    """The URL of a new store for that system."""
    if system == "mongo":
        yield bench.servers.mongodb.url("postroom_stored", "?replicaSet=rs0")
        with bench.servers.mongodb.client() as client:
            client.drop_database("postroom_stored")
        return
    if system == "redis":
        bench.servers.redis.ask("FLUSHALL", "ASYNC")
        yield bench.servers.redis.url
        bench.servers.redis.ask("FLUSHALL", "ASYNC")
        return
    with tempfile.TemporaryDirectory(prefix="bench-stored-") as folder:
        yield f"sqlite:///{folder}/postroom.sqlite3"


def stored(bench: Bench) -> Sequence[Findings]:
    """CPU seconds and rate for an email, with more and more emails stored before; and of the most, pages."""
    costs: list[Sequence[Cell]] = []
    pages: list[Sequence[Cell]] = []
    for system in bench.systems or ("mongo", "embedded"):
        with _store(bench, system) as url:
            filled, begin = 0, _begin(url)
            for level in bench.options.stored:
                _fill(bench, url, filled, level, begin)
                filled = level
                row = bench.measure(system, what=f"{level:,} stored", store_url=url, n=bench.options.n or 5000)
                disk = _disk_bytes(bench, url) / 1000 / (level + row.n)
                figures = (row.end_to_end_rate, row.p50_ms, row.p99_ms, system_cpu(row), disk)
                costs.append((system, level, *figures, percent(row.foreign)))
            pages += _pages(bench, system, url, begin, filled)
    head = (
        *("system", "stored before", "end to end/s", "p50 ms", "p99 ms", "CPU s per 1,000"),
        *("KB on disk each", "foreign"),
    )
    return [
        Findings(name="stored", head=head, lines=costs, rows=bench.rows),
        Findings(
            name="pages", head=("system", "what", "median ms", "CPU ms", "CPU / read by id", "at most 3"), lines=pages
        ),
    ]


def _pages(bench: Bench, system: str, url: str, begin: datetime, count: int) -> list[Sequence[Cell]]:
    """A page of 20 by each filter, beside a read by id; one request after the other."""
    lines: list[Sequence[Cell]] = []
    options = replace(bench.options, store_url=url)
    with (
        tempfile.TemporaryDirectory(prefix="bench-pages-") as folder,
        ALL[system].start(bench.servers, Path(folder), 0, options) as running,
    ):
        asked = _paths(count, begin)
        reads = asked[READ]
        for name, paths in asked.items():
            bench.say(f"{system}: {name}")
            median, cpu, base = _time(running, Path(folder), paths, beside=reads)
            lines.append((system, name, median, cpu, cpu / base, "yes" if cpu <= AT_MOST * base else "NO"))
    return lines


def _open(url: str) -> closing[Store]:
    return closing(wiring.open_store(settings.load({"POSTROOM_STORE_URL": url})))


def _begin(url: str) -> datetime:
    with _open(url) as store:
        return prefill.begin_of(store)


def _disk_bytes(bench: Bench, url: str) -> float:
    """What the store takes on disk, indexes and all."""
    if url.startswith("sqlite:"):
        return Path(url.removeprefix("sqlite:///")).stat().st_size
    if url.startswith("redis:"):
        return float(bench.servers.redis.ask("INFO", "persistence")["aof_current_size"])
    with bench.servers.mongodb.client() as client:
        client.admin.command("fsync")  # what is in memory only is not in the figures
        return float(client[url.rpartition("/")[2].partition("?")[0]].command("dbStats")["totalSize"])


def _fill(bench: Bench, url: str, first: int, last: int, begin: datetime) -> None:
    with _open(url) as store:
        prefill.fill(store, first, last, begin=begin, told=lambda n: bench.say(f"storing {n:,} of {last:,}"))
    if url.startswith("redis:"):
        _await_rewrite(bench)


def _await_rewrite(bench: Bench) -> None:
    """Redis tidies up its file when it has doubled; what that costs belongs to the emails stored before."""
    bench.say("waiting for Redis to rewrite its file")
    deadline = time.monotonic() + REWRITE_SECONDS
    while time.monotonic() < deadline:
        told = bench.servers.redis.ask("INFO", "persistence")
        if not (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"]):
            return
        time.sleep(0.2)
    raise RuntimeError(f"Redis has not rewritten its file within {REWRITE_SECONDS:.0f} s")


def _time(running: Running, folder: Path, paths: list[str], *, beside: list[str]) -> tuple[float, float, float]:
    """The median latency and the CPU time of a request, and the CPU time of one of the others, in milliseconds. They
    take turns, for a machine may be quicker at one moment than at the next."""
    _asked(running, folder, paths[:TURN])
    latencies: list[float] = []
    cpu = others = 0.0
    for start in range(0, len(paths), TURN):
        others += _asked(running, folder, beside[start : start + TURN])[1]
        taken, seconds = _asked(running, folder, paths[start : start + TURN])
        latencies += taken
        cpu += seconds
    return percentile(latencies, 0.5), cpu * 1000 / len(paths), others * 1000 / len(beside)


def _asked(running: Running, folder: Path, paths: list[str]) -> tuple[list[float], float]:
    """The latencies of these requests in milliseconds, and the CPU seconds of all of them."""
    assert running.target is not None
    meter = Meter({name: pids for name, pids in running.groups.items() if name in ("api", "store", "all in one")})
    meter.start()
    answer = load(folder, running.target, connections=1, paths=paths)
    reading = meter.stop(more={"client": answer.cpu_seconds})
    if set(answer.codes) != {"200"}:
        raise RuntimeError(f"answers to {paths[0]}: {answer.codes}")
    return answer.latencies_ms, sum(seconds for name, seconds in reading.cpu.items() if name not in ("client", "bench"))


def _paths(count: int, begin: datetime) -> dict[str, list[str]]:
    """What is asked for, under what name; the first is the read by id. Where it can, each asks for something else."""
    some = [prefill.email((place * 7919 + 13) % count, begin) for place in range(READS)]

    def each(query: Callable[[Email], str]) -> list[str]:
        return [f"/emails?{query(email)}" for email in some]

    def span(email: Email) -> str:
        return f"created_after={_time_of(email.created_at)}&created_before={_time_of(email.created_at + HOUR)}"

    return {
        READ: [f"/emails/{email.id}" for email in some],
        "newest": ["/emails"] * READS,
        "after a cursor": each(lambda e: f"after={e.id}"),
        "before a cursor": each(lambda e: f"before={e.id}"),
        "status that nearly all have": each(lambda e: f"status=sent&after={e.id}"),
        "status that few have": each(lambda e: f"status=bounced&after={e.id}"),
        "status that none has": ["/emails?status=retrying"] * READS,
        "recipient with 5 emails": each(lambda e: f"to=user{int(e.subject[6:]) % 200_000}@example.net"),
        "recipient with 100,000": each(lambda e: f"to=news@example.net&after={e.id}"),
        "subject, whole": each(lambda e: f"subject={quote(e.subject)}"),
        "subject, beginning of all": each(lambda e: f"subject=order&after={e.id}"),
        "subject, beginning of none": ["/emails?subject=refund"] * READS,
        "tag and value with 1,000": each(lambda e: f"tag=campaign:{dict(e.tags)['campaign']}"),
        "tag that all have": each(lambda e: f"tag=kind&after={e.id}"),
        "accepted within one hour": each(span),
        "status and recipient": each(lambda e: f"status=sent&to=news@example.net&after={e.id}"),
        "status and recipient, no such": ["/emails?status=bounced&to=news@example.net"] * READS,
        "tag and subject": each(lambda e: f"tag=kind:receipt&subject={quote(e.subject[:9])}"),
        "status and one hour": each(lambda e: f"status=bounced&{span(e)}"),
    }


def _time_of(moment: datetime) -> str:
    return quote(moment.isoformat())
