"""One system, one work, once: start, warm up, load, wait for the end, read everything back, and say what was seen."""

import math
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import sink, stats, work
from bench.client import Client, load
from bench.load import Answer
from bench.meters import Meter, Reading
from bench.options import Options
from bench.systems.base import Running, Servers, Submitter, System

STALLED_SECONDS = 60.0  # without any progress
LOOK_SECONDS = 0.02

Say = Callable[[str], None]


class Wrong(Exception):
    """The counts do not agree: this is no result."""


@dataclass(slots=True, kw_only=True)
class Row:
    """What was measured in one run. CPU is in seconds, of each group; rates are emails (or reads) per second."""

    system: str
    batch: int
    round: int = 0
    n: int = 0
    submit_rate: float = math.nan
    p50_ms: float = math.nan  # of one request
    p99_ms: float = math.nan
    end_to_end_rate: float = math.nan
    seconds: float = math.nan
    cpu: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    foreign: float = math.nan
    status_rate: float = math.nan
    memory_series: list[dict[str, float]] = field(default_factory=list)  # MB of each group, each second
    failure: str = ""


def measure(system: System, servers: Servers, options: Options, *, batch: int = 1, say: Say) -> Row:
    """Runs it and checks every count. What does not add up, or does not work, comes back as a failure."""
    options = replace(options, children=options.batch_children) if batch > 1 else options
    row = Row(system=system.name, batch=batch, n=options.n or system.n * (2 if batch > 1 else 1))
    folder = Path(tempfile.mkdtemp(prefix="bench-"))  # readable by Postfix and its sink
    folder.chmod(0o755)
    try:
        with (
            sink.inbox("bench-sink-") as inbox,
            sink.sink(inbox, delay_ms=options.delay_ms, header=system.header) as relay,
            system.start(servers, folder, relay.port, options) as running,
        ):
            _Run(running, relay, folder, options, row, say).carry_out()
    except (Wrong, RuntimeError, AssertionError, OSError) as error:
        row.failure = f"{type(error).__name__}: {error}"
        say(f"failed; logs are in {folder}\n")
    finally:
        if not row.failure:  # then its logs tell more
            shutil.rmtree(folder, ignore_errors=True)
    return row


class _Run:
    def __init__(
        self,
        running: Running,
        relay: sink.Sink,
        folder: Path,
        options: Options,
        row: Row,
        say: Say,
    ) -> None:
        self._running = running
        self._relay = relay
        self._ledger = relay.ledger
        self._folder = folder
        self._options = options
        self._row = row
        self._say = say
        self._name = uuid.uuid4().hex[:8]

    def carry_out(self) -> None:
        """The steps, in order."""
        first = self._warm_up()
        os.sync()  # what the systems before have left to be written is not this one's burden
        submitter = self._submitter(range(work.WARM_UP, work.WARM_UP + self._row.n))
        try:
            meter = Meter({**self._running.groups, "sink": [self._relay.pid]})
            meter.start()
            submitter.go()
            settled_at = self._until_settled(submitter)
            answer = submitter.answer()
            reading = meter.stop(more={"client": answer.cpu_seconds})
        finally:
            submitter.close()
        self._record(answer, reading, settled_at)
        self._check_sink(first)
        self._check_answers(answer)
        self._read_back(answer.ids)

    def _warm_up(self) -> int:
        """The first emails, not counted; returns how many the sink has of them."""
        self._say("warming up")
        submitter = self._submitter(range(work.WARM_UP))
        try:
            submitter.go()
            self._until_settled(submitter, count=work.WARM_UP)
            submitter.answer()
        finally:
            submitter.close()
        return self._ledger.read()

    def _submitter(self, numbers: range) -> Submitter:
        if self._running.submitter:
            return self._running.submitter(len(numbers))
        assert self._running.target is not None
        batch = self._row.batch
        return Client(
            self._folder,
            self._running.target,
            connections=self._options.batch_connections if batch > 1 else self._options.connections,
            run=self._name,
            numbers=(numbers.start, numbers.stop),
            batch=batch,
            rate=self._options.rate,
        )

    def _until_settled(self, submitter: Submitter, count: int | None = None) -> float:
        """Waits until the sink has them all and every status is recorded; returns when that was."""
        expected = count or work.WARM_UP + self._row.n
        last, progress_at, told_at = -1, time.monotonic(), 0.0
        while self._ledger.read() < expected or submitter.running or not self._running.settled(expected):
            now = time.monotonic()
            if self._ledger.count > last or submitter.running:
                last, progress_at = self._ledger.count, now
            if now - progress_at > STALLED_SECONDS:
                raise Wrong(f"only {last} of {expected} emails after {STALLED_SECONDS:.0f} s without progress")
            if now - told_at > 1:
                self._say(f"{max(0, last - work.WARM_UP)} of {self._row.n}")
                told_at = now
            time.sleep(LOOK_SECONDS)
        return time.monotonic()

    def _record(self, answer: Answer, reading: Reading, settled_at: float) -> None:
        row = self._row
        row.submit_rate = row.n / (answer.ended_at - answer.started_at)
        row.p50_ms = stats.percentile(answer.latencies_ms, 0.50)
        row.p99_ms = stats.percentile(answer.latencies_ms, 0.99)
        row.seconds = settled_at - answer.started_at
        row.end_to_end_rate = row.n / row.seconds
        row.cpu, row.peak_mb, row.foreign = reading.cpu, reading.peak_mb, reading.foreign
        row.memory_series = reading.memory_series

    def _check_sink(self, first: int) -> None:
        got, distinct = self._ledger.read(), len(self._ledger.names)
        expected = first + self._row.n
        if got != expected or distinct != expected:
            raise Wrong(f"the sink has {got} messages, {distinct} of them distinct, instead of {expected}")

    def _check_answers(self, answer: Answer) -> None:
        wrong = {code: count for code, count in answer.codes.items() if not code.startswith("2")}
        if wrong:
            raise Wrong(f"answers other than success: {wrong}")
        if self._running.target and len(set(answer.ids)) != self._row.n:
            raise Wrong(f"{len(set(answer.ids))} distinct ids for {self._row.n} emails")

    def _read_back(self, ids: list[str]) -> None:
        """Every status, through the system's own API; where there is none, `settled` has counted its log."""
        target = self._running.target
        if target is None:
            return
        step = max(1, len(ids) // (self._options.read_back or len(ids)))
        paths = [f"/emails/{one}" for one in ids[::step]]
        self._say(f"reading {len(paths)} statuses")
        answer = load(self._folder, target, connections=self._options.connections, paths=paths)
        if answer.statuses != {target.sent: len(paths)}:
            raise Wrong(f"statuses read back: {answer.statuses}, codes {answer.codes}")
        self._row.status_rate = len(paths) / (answer.ended_at - answer.started_at)
