"""The command line of the bench; `make bench` calls it. bench/README.md explains it."""

import signal
import sys
import tempfile
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bench import results
from bench.compare import WORKS, compare, text
from bench.options import Options
from bench.scenarios import registry as scenarios
from bench.scenarios.base import Bench, as_json, table
from bench.systems.base import Servers
from bench.systems.registry import ALL as SYSTEMS

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def _option(name: str, **more: Any) -> Decorator:
    """An option that may also be given as `make bench NAME=value`."""
    return click.option(f"--{name.lower().replace('_', '-')}", envvar=name, show_default=True, **more)


@click.command(context_settings={"max_content_width": 100})
@_option("SCENARIO", default="compare", help=f"`compare`, or one of {', '.join(scenarios.ALL)}, or `all` of them.")
@_option("SYSTEMS", default="", help=f"Which systems, with commas between; of {', '.join(SYSTEMS)}.")
@_option("WORKS", default=",".join(WORKS), help="One by one, in batches, or both.")
@_option("N", type=click.IntRange(1), help="Emails for each system, instead of each one's own number.")
@_option("ROUNDS", default=3, type=click.IntRange(1), help="How often each is measured, interleaved.")
@_option("CONNECTIONS", default=32, type=click.IntRange(1), help="Client connections, one by one.")
@_option("BATCH", default=100, type=click.IntRange(2, 100), help="Emails of one batch.")
@_option("BATCH_CONNECTIONS", default=4, type=click.IntRange(1), help="Client connections, in batches.")
@_option("DELAY_MS", default=0, type=click.IntRange(0), help="How long the relay takes for each message.")
@_option("API_PROCESSES", default=1, type=click.IntRange(1), help="Processes of `postroom serve`.")
@_option("WORKERS", default=1, type=click.IntRange(1), help="How many `postroom worker`.")
@_option("CHILDREN", default=1, type=click.IntRange(1), help="Child processes of each, one by one.")
@_option("BATCH_CHILDREN", default=2, type=click.IntRange(1), help="Child processes of each, in batches.")
@_option("RELAY_CONNECTIONS", default=100, type=click.IntRange(1, 1000), help="Connections of each to the sink.")
@_option("STORED", default="1000,100000,1000000", help="How many emails are there before, in `stored`.")
@_option("SET", default="", help="More settings of Postroom: `COMMIT_LINGER_MS=4,CHUNK_SIZE=200`.")
def main(scenario: str, systems: str, works: str, stored: str, set: str, **given: Any) -> None:
    """Measure Postroom beside other ways to build the same thing, on the same work, in one run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended, too
    settings = dict(pair.split("=", 1) for pair in set.split(",") if pair)
    settings = {f"POSTROOM_{name}": value for name, value in settings.items()}
    options = Options(settings=settings, stored=tuple(map(int, stored.split(","))), **given)
    chosen, sizes = _known(systems, SYSTEMS), _known(works, WORKS)
    names = ("compare", *scenarios.ALL)
    failed = False
    for name in names if scenario == "all" else _known(scenario, names):
        with tempfile.TemporaryDirectory(prefix="bench-servers-") as folder, closing(Servers(Path(folder))) as servers:
            try:
                if name == "compare":
                    failed |= _compare(chosen or list(SYSTEMS), sizes, servers, options)
                else:
                    failed |= _answer(name, Bench(servers=servers, options=options, systems=chosen, say=say))
            except Exception as error:  # the other scenarios are still worth their time
                click.echo(f"\n{name} broke off: {type(error).__name__}: {error}", err=True)
                failed = True
    sys.exit(failed)


def _compare(systems: list[str], works: list[str], servers: Servers, options: Options) -> bool:
    """All systems beside each other; prints, saves, and tells whether any run failed."""
    rows = compare([SYSTEMS[name] for name in systems], works, servers, options, say=say)
    content = {"options": asdict(options), "rows": [asdict(row) | {"memory_series": []} for row in rows]}
    file = results.save("compare", content, servers)
    click.echo(f"\n{text(rows, options)}\n{file}")
    return any(row.failure for row in rows)


def _answer(name: str, bench: Bench) -> bool:
    """One scenario; prints, saves, and tells whether any run failed."""
    failed = False
    for findings in scenarios.ALL[name](bench):
        content = results.with_earlier(findings.name, as_json(findings, bench.options))
        file = results.save(findings.name, content, bench.servers)
        click.echo(f"\n{table(findings.head, findings.lines)}\n{file}")
        failed |= findings.failed
    return failed


def _known(text: str, known: Collection[str]) -> list[str]:
    names = text.split(",") if text else []
    if wrong := [name for name in names if name not in known]:
        raise click.UsageError(f"{', '.join(wrong)}: not known; there are {', '.join(known)}")
    return names


def say(text: str) -> None:
    """Progress: on a terminal one line that changes; elsewhere only what is there to stay."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", nl=False, err=True)
    elif text.endswith("\n"):
        click.echo(text, nl=False, err=True)


if __name__ == "__main__":
    main()
