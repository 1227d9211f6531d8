"""What TLS asks of the broker: a certificate that we trust, and that is for the host in the URL."""

from typing import Any


class HostOfTheURL(dict[str, Any]):
    """kombu's TLS options. Without a name it checks none; where it finds None it fills in the host that it connects to,
    once. With several brokers it must find None each time."""

    def __getitem__(self, key: str) -> Any:
        return None if key == "server_hostname" else super().__getitem__(key)


def options(broker_url: str) -> HostOfTheURL | None:
    """For kombu and Celery; None where the URL asks for no TLS."""
    return HostOfTheURL(server_hostname=None) if "amqps://" in broker_url else None
