"""The product as a process, started anew for each test that asks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.service import Service

Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a service with these settings, in the test's folder; kills what still runs at the end."""
    services: list[Service] = []

    def started(**settings: str) -> Service:
        service = Service(tmp_path, **settings)
        services.append(service)
        service.start()
        return service

    yield started
    for service in services:
        service.kill()
