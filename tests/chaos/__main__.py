"""python -m tests.chaos: runs scenarios, prints what came of each, and fails if any promise was broken."""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.checker import Findings
from tests.chaos.rig import servers
from tests.chaos.run import Order, run
from tests.chaos.scenarios import SCENARIOS

_COLUMNS = "{:<19} {:>8} {:>4} {:>7} {:>7} {:>7}  {:>13} {:>13}  {:>13} {:>8} {:>6}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every promise held."""
    wanted = _parser().parse_args(arguments)
    folder = Path(wanted.logs or tempfile.mkdtemp(prefix="postroom-chaos-logs-"))
    clustered = wanted.nodes > 1
    of_nodes = clustered and wanted.store == "mongo"
    names = wanted.scenario or [name for name, one in SCENARIOS.items() if of_nodes or not one.of_nodes]
    _say(f"seed {wanted.seed}, store {wanted.store}, nodes {wanted.nodes}, logs in {folder}")
    violations = 0
    with servers(wanted.store, clustered=clustered) as (broker, store):
        _say(_COLUMNS.format(*_HEADINGS))
        for name in names:
            scenario = SCENARIOS[name]
            seconds = wanted.seconds or scenario.seconds
            order = Order(name=name, scenario=scenario, seed=wanted.seed, seconds=seconds, rate=wanted.rate)
            logs = folder / name
            logs.mkdir(parents=True, exist_ok=True)
            (logs / "plan.txt").write_text("".join(f"{strike}\n" for strike in order.plan()))
            began = time.monotonic()
            findings = run(order, broker, store, logs)
            _say(_row(name, findings, time.monotonic() - began))
            violations += len(findings.violations)
    _say("every promise held" if not violations else f"{violations} promises broken; seed {wanted.seed}")
    return 1 if violations else 0


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<19} {scenario.what}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Kills, freezes and empties parts of a distributed Postroom under load, then counts.",
        epilog=f"scenarios:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="repeats a run's faults"
    )
    parser.add_argument(
        "--seconds", type=float, help="under load, for each scenario; each has its own length otherwise"
    )
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, metavar="NAME", help="those only; all otherwise")
    parser.add_argument("--store", choices=("mongo", "redis"), default="mongo", help="where emails are kept")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="of RabbitMQ and of MongoDB")
    parser.add_argument("--rate", type=float, default=40, help="submissions a second (default: 40)")
    parser.add_argument("--logs", metavar="FOLDER", help="for every process's log; a temporary one otherwise")
    return parser


_HEADINGS = (
    *("scenario", "accepted", "lost", "doubled", "flagged", "refused"),
    *("calm p50/p99", "fault p50/p99", "back at work", "slowest", "took"),
)


def _row(name: str, findings: Findings, seconds: float) -> str:
    back = "/".join(f"{max(found):.1f}" if found else "-" for found in (findings.recoveries, findings.late_recoveries))
    row = _COLUMNS.format(
        name,
        findings.accepted,
        findings.lost,
        findings.duplicated,
        findings.flagged,
        findings.refused,
        _milliseconds(findings.calm),
        _milliseconds(findings.faulty),
        f"{back} s",
        f"{findings.slowest:.1f} s",
        f"{seconds:.0f} s",
    )
    return "\n".join([row, *(f"    BROKEN: {violation}" for violation in findings.violations)])


def _milliseconds(seconds: tuple[float, float]) -> str:
    return "/".join(f"{one * 1000:.0f}" for one in seconds) + " ms"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
