"""Where the API listens, and what to call it: for the commands that serve, and the one that checks."""

import socket

from postroom.cli.output import fail
from postroom.settings import Settings


def listening(settings: Settings) -> socket.socket:
    """The API's listening socket; taken before anything else starts, so that a port in use costs nothing."""
    try:
        return bound(settings.host, settings.port)
    except OSError as error:
        fail(
            f"cannot listen on {settings.host}:{settings.port} ({reason(error)}); "
            "is Postroom running already? POSTROOM_PORT and POSTROOM_HOST choose another address"
        )


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `OSError`."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)


def reason(error: OSError) -> str:
    """Why that failed, without the address, which the error's own words repeat."""
    words = error.strerror or str(error)
    return words.partition(" (while attempting to bind")[0]


def address_of(host: str, port: int) -> str:
    """The address of an API that listens there."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def greeting(address: str, settings: Settings) -> str:
    """Where it serves, for people."""
    return f"Postroom serves {address}" + (f"   (documentation: {address}/docs)" if settings.docs else "")
