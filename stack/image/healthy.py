"""The image's health check: asks the process, not the port.

A worker or a sweep touches a file as long as its loop turns; the API is asked whether it can accept emails.
"""

import http.client
import os
import sys
import time

OLDEST_SECONDS = 30.0
PATIENCE_SECONDS = 4.0


def main() -> str | None:
    """Nothing when it is healthy, else the reason, which becomes the exit code and what `docker inspect` shows."""
    alive_file = os.environ.get("POSTROOM_WORKER_ALIVE_FILE")
    try:
        return turning(alive_file) if alive_file else accepting(int(os.environ.get("POSTROOM_PORT", "8022")))
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror or error}"


def turning(alive_file: str) -> str | None:
    """A worker or a sweep."""
    age = time.time() - os.stat(alive_file).st_mtime
    return None if age < OLDEST_SECONDS else f"its loop has not turned for {age:.0f} s"


def accepting(port: int) -> str | None:
    """The API, with what it needs."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    text = answer.read().decode()
    return None if answer.status == 200 else text


sys.exit(main())
