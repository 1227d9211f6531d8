"""One stack for all tests of this folder; each test chooses its store and relay."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.stand import PROJECT, Stand


@pytest.fixture(scope="session")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stand, str]]:
    """An empty checkout after its first `make start`, and what that printed."""
    subprocess.run(["docker", "compose", "-p", PROJECT, "down", "--volumes"], capture_output=True, timeout=300)
    folder: Path = tmp_path_factory.mktemp("checkout")
    stand = Stand(folder)
    stand.check_out()
    try:
        yield stand, stand.make("start")
    finally:
        stand.try_make("destroy", YES="1")


@pytest.fixture
def stand(first_start: tuple[Stand, str]) -> Stand:
    """The stack, in whatever state the last test left it."""
    return first_start[0]
