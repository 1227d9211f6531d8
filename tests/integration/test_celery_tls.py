"""TLS to the broker: whose certificate is accepted, and whose is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from postroom.errors import QueueUnavailable
from postroom.mail.email import Lane
from postroom.queue.celery import CeleryQueue, create_app
from tests.servers import free_port, rabbitmq
from tests.servers.rabbitmq import RabbitMQ


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the brokers' certificates."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process trusts that authority."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.fixture(scope="module")
def ports(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """A broker's port whose certificate is for its host, and one whose certificate is for another."""
    rabbitmq.require_installed()
    folder = tmp_path_factory.mktemp("tls")
    right, wrong = free_port(), free_port()
    servers = []
    for port, host in ((right, "127.0.0.1"), (wrong, "other.example.com")):
        (folder / host).mkdir()
        servers.append(RabbitMQ(folder / host))
        certificate = authority.issue_cert(host)
        authority.cert_pem.write_to_path(folder / host / "ca.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / host / "both.pem")
        with (folder / host / "rabbitmq.conf").open("a") as configuration:
            configuration.write(f"listeners.ssl.1 = 127.0.0.1:{port}\n")
            for option, name in (("cacertfile", "ca.pem"), ("certfile", "both.pem"), ("keyfile", "both.pem")):
                configuration.write(f"ssl_options.{option} = {folder / host / name}\n")
        servers[-1].start()
    yield right, wrong
    for server in servers:
        server.stop()


def url(port: int) -> str:
    """The URL of the broker on that port."""
    return f"amqps://guest:guest@127.0.0.1:{port}//"


def ask(broker_url: str) -> None:
    """Connects as the API does."""
    queue = CeleryQueue(broker_url)
    try:
        queue.publish(["1"], Lane.NORMAL)
    finally:
        queue.close()


@pytest.mark.usefixtures("trusted")
@pytest.mark.slow
def test_certificate_for_the_host_is_accepted(ports: tuple[int, int]) -> None:
    ask(url(ports[0]))
    with create_app(url(ports[0])).connection_for_read() as connection:
        connection.connect()


@pytest.mark.usefixtures("trusted")
@pytest.mark.slow
def test_certificate_for_another_host_is_refused(ports: tuple[int, int]) -> None:
    with pytest.raises(QueueUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        ask(url(ports[1]))
    with (
        create_app(url(ports[1])).connection_for_read() as connection,
        pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        connection.connect()


@pytest.mark.slow
def test_certificate_of_an_unknown_authority_is_refused(ports: tuple[int, int]) -> None:
    with pytest.raises(QueueUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        ask(url(ports[0]))


@pytest.mark.usefixtures("trusted")
@pytest.mark.slow
def test_next_broker_is_checked_against_its_own_name(ports: tuple[int, int]) -> None:
    down = f"amqps://guest:guest@localhost.localdomain:{free_port()}//"
    ask(f"{down};{url(ports[0])}")
    with create_app(f"{down};{url(ports[0])}").connection_for_read() as connection:
        assert connection.ensure_connection(max_retries=2, interval_start=0).connected
