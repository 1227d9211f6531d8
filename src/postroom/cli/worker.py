"""The command that delivers, in child processes that Celery keeps; any number of them on any hosts."""

import os

import click

from postroom import settings as settings_module
from postroom import wiring
from postroom.cli.output import clear_errors


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 256), help="Child processes; POSTROOM_WORKER_PROCESSES if unset.")
@click.option(
    "--hostname",
    help="A name that no other worker has, as Flower shows it; postroom-PID@%h if unset (%h is this host).",
)
@clear_errors
def worker(concurrency: int | None, hostname: str | None) -> None:
    """Deliver emails.

    It takes what RabbitMQ and the store say is due. SIGTERM makes it finish, or hand back, what it has.
    """
    settings = settings_module.load()
    wiring.require_shared(settings, "worker")
    wiring.check_parts(settings)  # without the packages that workers need, the next line would fail
    from postroom.worker.celery_app import app  # reads the settings again, as Celery's own command line makes it do

    os.nice(settings.worker_niceness)
    processes = concurrency or settings.worker_processes
    name = hostname or f"postroom-{os.getpid()}@%h"  # the broker locks out a second worker of the same name
    quiet = ["--quiet"] if settings.log_format == "json" else []  # Celery's banner is for people
    app.worker_main(
        [*quiet, "worker", f"--concurrency={processes}", f"--hostname={name}", "--without-gossip", "--without-mingle"]
    )
