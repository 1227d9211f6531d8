"""A bare connection to an HTTP server, for requests that no client library would send."""

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.product import Product
from tests.refusals import CANARY, check_shape

SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WireAnswer:
    """One answer as it came: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Wire:
    """One TCP connection to the loopback interface. Close it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._read = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def send(self, *parts: bytes, pause: float = 0) -> None:
        """Sends parts, each in a packet of its own."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            self._socket.sendall(part)
            time.sleep(pause)

    def read_answer(self) -> WireAnswer:
        """The next answer; it must have a Content-Length."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, rest = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"])
        self._read = rest
        while len(self._read) < length:
            self._more()
        body, self._read = self._read[:length], self._read[length:]
        return WireAnswer(status=int(first.split()[1]), headers=headers, body=body)

    def is_closed_or_answered(self) -> bool:
        """Whether there is something to read by now, if only the end."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def is_closed(self, within: float = SECONDS) -> bool:
        """Whether the server closes its side in that time, without another word."""
        self._socket.settimeout(within)
        try:
            return self._socket.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def is_cut_off(self, within: float = SECONDS) -> bool:
        """Whether the server drops the connection in that time, although nothing is read here."""
        deadline = time.monotonic() + within
        try:
            while time.monotonic() < deadline:
                self.send(b"\r\n", pause=0.05)
        except ConnectionError:
            return True
        return False

    def _more(self) -> None:
        data = self._socket.recv(65536)
        assert data, f"closed after {len(self._read)} bytes of an answer"
        self._read += data


@contextlib.contextmanager
def wires(product: Product, count: int, *parts: bytes) -> Iterator[list[Wire]]:
    """So many connections, on each of which that was sent."""
    opened: list[Wire] = []
    try:
        for _ in range(count):
            opened.append(Wire(product.port))
            opened[-1].send(*parts)
        yield opened
    finally:
        for one in opened:
            one.close()


def head(product: Product, *lines: str, method: str = "POST", path: str = "/emails") -> bytes:
    """A request head with a right key and these further lines."""
    fixed = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {product.key}"]
    return "\r\n".join([*fixed, "Content-Type: application/json", *lines, "", ""]).encode()


def assert_wire_refused(answer: WireAnswer, status: int, name: str = "validation_error") -> None:
    """As `assert_refused`."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    check_shape(answer.json(), status, name)
    assert CANARY.encode() not in answer.body
