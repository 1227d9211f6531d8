"""What is said to Redis, in clear and over TLS: nothing is cut short, and no wait is too long."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.errors import StoreUnavailable
from postroom.store.redis import RedisStore
from tests import certificates, make
from tests.certificates import Certificates
from tests.servers import free_port
from tests.servers.redis import RedisServer, Start

LIMIT_SECONDS = 3.5
LARGE = b"0123456789abcdef" * 100_000  # more than one read brings


@pytest.fixture
def certified(tmp_path: Path) -> Certificates:
    return certificates.make(tmp_path)


@pytest.fixture
def server(start_redis: Start, certified: Certificates) -> RedisServer:
    """One that can be reached in clear and over TLS."""
    pem = str(certified.key_and_chain)
    return start_redis(
        tls_port=str(free_port()), tls_cert_file=pem, tls_key_file=pem, tls_ca_cert_file=pem, tls_auth_clients="no"
    )


def over_tls(server: RedisServer) -> str:
    """Its URL, without who vouches for it."""
    return f"rediss://127.0.0.1:{server.settings['tls-port']}/0"


@pytest.fixture(params=["clear", "TLS"])
def store(request: pytest.FixtureRequest, server: RedisServer, certified: Certificates) -> Iterator[RedisStore]:
    """A store that is connected."""
    url = server.url if request.param == "clear" else f"{over_tls(server)}?ssl_ca_certs={certified.ca_file}"
    store = RedisStore(url)
    store.ping()
    yield store
    store.close()


def test_large_contents_go_and_come_whole(store: RedisStore) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.email(now, attachments=(make.attachment(LARGE),)))
    assert store.attachments(email.id) == [LARGE]


def test_frozen_server_is_told_in_time_each_time(server: RedisServer, store: RedisStore) -> None:
    with server.frozen():
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="does not answer in time"):
                store.add([make.submission()], now=store.clock(), wake_up_at=store.clock())
            assert time.monotonic() - began < LIMIT_SECONDS
    store.ping()
    assert sum(store.counts().values()) == 0


def test_server_that_nobody_vouches_for_is_not_talked_to(server: RedisServer) -> None:
    store = RedisStore(over_tls(server))
    with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        store.ping()
    store.close()
