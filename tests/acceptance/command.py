"""The command line as a process of its own."""

import subprocess
import sys
from pathlib import Path

from tests.acceptance.service import Service, environment


def postroom(
    *arguments: str, service: Service | None = None, folder: Path | None = None, words: str = "", **env: str
) -> tuple[int, str, str]:
    """Runs the command, with these words on standard input; returns exit code, standard output, standard error."""
    variables = environment({})
    if service:
        variables |= {"POSTROOM_API_URL": service.address, "POSTROOM_API_KEY": service.key}
    done = subprocess.run(
        [sys.executable, "-m", "postroom", *arguments],
        cwd=service.folder if service else folder,
        env=variables | env,
        input=words,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


SEND = ("send", "--from", "ann@example.com", "--to", "bob@example.com", "--subject", "Hello", "--text", "Hi")
