"""Unit tests reach no network, and their property tests take the same examples everywhere under CI."""

import os

import pytest
import pytest_socket
from hypothesis import settings

settings.register_profile("shared-cpu", deadline=None, max_examples=100)
settings.register_profile("ci", settings.get_profile("shared-cpu"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "shared-cpu")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Switches sockets off, but for the pairs that event loops wake themselves with; pytest-socket restores them."""
    pytest_socket.disable_socket(allow_unix_socket=True)
