"""The limit of connections is one that the process can serve."""

import subprocess
import sys

import pytest

from postroom.api.server import OTHER_FILES

ASK = """
import resource
from postroom.api import server
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(server.connections_that_fit({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "connections", "files"),
    [
        (900, 900, 100, 100, 900),
        (300, 900, 100, 100, 100 + OTHER_FILES),
        (300, 900, 4000, 900 - OTHER_FILES, 900),
        (300, 400, 4000, 1, 400),
    ],
)
def test_limit_of_open_files_is_raised_as_far_as_it_may_be(
    soft: int, hard: int, wanted: int, connections: int, files: int
) -> None:
    code = ASK.format(soft=soft, hard=hard, wanted=wanted)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.split() == [str(connections), str(files)]
    assert ("connections limited" in told.stderr) is (connections < wanted)
