"""Real servers that the tests start themselves, on free loopback ports with their data in a temporary folder."""

import os
import random
import shutil
import socket
import subprocess
from pathlib import Path

import pytest


def require(condition: object, reason: str) -> None:
    """Skips the test with the reason unless the condition holds; under CI it fails instead."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"must not be missing under CI: {reason}")
    pytest.skip(reason)


def installed(program: str, *, package: str, also: str = "") -> str | None:
    """The path of a server's program: on PATH or at `also`, else from the Debian package where we may install it."""
    if found := _program(program, also):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in ("update", f"install --yes --no-install-recommends {package}"):
            subprocess.run(["apt-get", "-qq", *command.split()], env=environment, capture_output=True, timeout=600)
    return _program(program, also)


def _program(program: str, also: str) -> str | None:
    return also if also and Path(also).exists() else shutil.which(program)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment. It is below those from which the system takes ports for
    outgoing connections, one of which might have it when it is wanted."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
