"""Flower's health check: asks it with its own password, for nothing of it is open."""

import base64
import http.client
import os
import sys


def main() -> str | None:
    """Nothing when it is healthy, else the reason."""
    login = base64.b64encode(os.environ["FLOWER_BASIC_AUTH"].encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", 5555, timeout=4)
    try:
        connection.request("GET", "/healthcheck", headers={"Authorization": f"Basic {login}"})
        status = connection.getresponse().status
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror or error}"
    return None if status == 200 else f"HTTP {status}"


sys.exit(main())
