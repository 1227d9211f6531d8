"""The product, running for the tests of one module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.product import Product, running


@pytest.fixture(scope="module")
def product(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Accepts emails and leaves them where they are."""
    with running(engine, _folder(tmp_path_factory), deliver=False) as started:
        yield started


@pytest.fixture(scope="module")
def delivering(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Accepts emails and hands them to a simulated relay, which takes no time."""
    with running(engine, _folder(tmp_path_factory)) as started:
        yield started


@pytest.fixture(scope="module")
def impatient(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Accepts emails, waits for clients no longer than a second, and takes bodies of at most a megabyte."""
    environ = {
        "POSTROOM_HEADER_SECONDS": "1",
        "POSTROOM_BODY_SECONDS": "1",
        "POSTROOM_KEEP_ALIVE_SECONDS": "1",
        "POSTROOM_MAX_BODY_BYTES": "1000000",
    }
    with running(engine, _folder(tmp_path_factory), deliver=False, environ=environ) as started:
        yield started


def _folder(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("product")
