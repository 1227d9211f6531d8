"""The product, running for the tests of one module; and what the tests of SMTP have in common."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.product import Product, running
from tests.sending import Clock, OpenSmtp, transports
from tests.smtpd import Smtpd


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


@pytest.fixture
def server() -> Iterator[Smtpd]:
    """A relay to script; in the end it must have seen nothing that a strict one would object to."""
    with Smtpd() as relay:
        yield relay
    assert relay.violations == []


@pytest.fixture
def clock() -> Clock:
    """The clock of the transports, which can be set forward."""
    return Clock()


@pytest.fixture
def opened(clock: Clock) -> Iterator[OpenSmtp]:
    """Opens SMTP transports by that clock, and closes them after the test."""
    with transports(clock) as make:
        yield make
