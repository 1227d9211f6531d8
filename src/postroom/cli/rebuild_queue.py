"""The command that refills a broker that has lost its data."""

from datetime import timedelta

import click

from postroom import settings as settings_module
from postroom import sweep, wiring
from postroom.cli.output import as_json, clear_errors, show


@click.command("rebuild-queue")
@as_json
@clear_errors
def rebuild_queue(as_json: bool) -> None:
    """Publish all due emails now.

    Optional: a running sweep does this within POSTROOM_WAKE_UP_SECONDS.
    """
    settings = settings_module.load()
    wiring.require_shared(settings, "rebuild-queue")
    store, queue = wiring.open_store(settings), wiring.open_queue(settings)
    try:
        count = sweep.rebuild_queue(
            store=store,
            queue=queue,
            chunk_size=settings.chunk_size,
            again_after=timedelta(seconds=settings.wake_up_seconds),
        )
    finally:
        queue.close()
        store.close()
    show({"published": count}, [f"{count} emails published"], as_json=as_json)
