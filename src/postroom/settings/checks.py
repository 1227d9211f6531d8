"""Checks of single values, each with the sentence that says what is wrong. No secret is in it."""

from ipaddress import ip_network
from urllib.parse import urlsplit

from pydantic import SecretStr

from postroom.errors import InvalidInput
from postroom.mail import address

SQLITE = "sqlite:///"
SHARED_STORES = ("mongodb://", "mongodb+srv://", "redis://", "rediss://")


def _check_ports(url: str) -> None:
    """Raises `ValueError` for a port that is none; not every client library finds a good word for it."""
    for one in url.split(";"):  # brokers may be several
        try:
            _ = urlsplit(one).port
        except ValueError:  # its text can hold a part of the password
            raise ValueError(
                "cannot be read: is the port a number, and are special characters percent-encoded?"
            ) from None


def known_store(url: SecretStr) -> SecretStr:
    """Must be of a kind that we have."""
    if not url.get_secret_value().startswith((SQLITE, *SHARED_STORES)):
        raise ValueError("must be sqlite:///PATH (relative), sqlite:////PATH (absolute), mongodb://… or redis://…")
    return _checked_redis(url)


def _checked_redis(url: SecretStr) -> SecretStr:
    if url.get_secret_value().startswith(("redis://", "rediss://")):
        _check_ports(url.get_secret_value())
    return url


def known_broker(url: SecretStr) -> SecretStr:
    """Must be RabbitMQ; of several, all with the same encryption."""
    brokers = url.get_secret_value().split(";")
    for scheme in ("amqp://", "amqps://"):
        if all(broker.startswith(scheme) for broker in brokers):
            _check_ports(url.get_secret_value())
            return url
    raise ValueError(
        "must begin with amqp:// or amqps:// (RabbitMQ); several are separated by ; and all have the same scheme"
    )


def known_results(url: SecretStr | None) -> SecretStr | None:
    """Must be a backend that Celery shares with our stores."""
    if url and not url.get_secret_value().startswith(SHARED_STORES):
        raise ValueError("must begin with mongodb:// or redis://")
    return _checked_redis(url) if url else None


def known_relay(url: SecretStr) -> SecretStr:
    """Must be SMTP, or simulated."""
    if not url.get_secret_value().startswith(("smtp://", "smtps://", "simulated://")):
        raise ValueError("must begin with smtp://, smtps:// or simulated://")
    return url


def known_address(text: str | None) -> str | None:
    """Must be one email address, if any."""
    if not text:
        return None
    try:
        return address.parse(text, member="").addr
    except InvalidInput as error:
        raise ValueError(f"must be one address such as bounces@example.com; this {error.problem}") from None


def named_host(text: str) -> str:
    """Must not be empty, which would be every address of the machine, nor more than a host."""
    if not text.strip():
        raise ValueError("is empty; for every address of this machine write 0.0.0.0")
    if set(text) & set("[]/"):
        raise ValueError("must be an address or a name such as 127.0.0.1 or ::1, without brackets and http://")
    return text


def known_proxies(text: str) -> None:
    """Must be addresses or networks, or all. The HTTP server passes in silence over what is neither."""
    for one in filter(None, (one.strip() for one in text.split(",") if text != "*")):
        try:
            ip_network(one)
        except ValueError as error:
            raise ValueError(f"must be addresses or networks with commas between, or *; {error}") from None


def known_listen_address(text: str | None) -> str | None:
    """Must be a host and a port."""
    if not text:
        return None
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port and parts.netloc == text and "@" not in text:
            return text
    except ValueError:
        pass
    raise ValueError("must be host:port such as 127.0.0.1:9464, an IPv6 address in brackets")
