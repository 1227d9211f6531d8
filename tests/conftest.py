"""The real servers, for every tier that asks; and fleets around them."""

import pytest

pytest.register_assert_rewrite("tests.corpus", "tests.reading")

pytest_plugins = [
    "tests.servers.mongodb",
    "tests.servers.rabbitmq",
    "tests.servers.redis",
    "tests.fleet",  # imports the servers, and must come after them
    "tests.engines",
]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that no process is left alone with them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
