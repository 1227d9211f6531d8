"""The file by which a worker or a sweep shows a health check that its loop turns."""

import logging
from pathlib import Path

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0


def touch(path: Path) -> None:
    """Gives the file the time of now. Work goes on where that fails."""
    try:
        path.touch()
    except OSError as error:
        log.warning("cannot touch POSTROOM_WORKER_ALIVE_FILE", extra={"reason": str(error)})
