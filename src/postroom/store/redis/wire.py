"""One connection to Redis. The driver makes it and greets the server; then commands go out and replies come in here.

The driver asks the system three times for each send and each read, because it minds the time itself, and at each of
these other threads take the interpreter's lock. Here the kernel minds the time, and each costs one call.
"""

import select
import socket
import ssl
import struct
import time
from typing import Any, Protocol, TypeAlias

import hiredis
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

Reply: TypeAlias = Any  # bytes, int, None, or a list of replies; their shape is said where they are read

READ_BYTES = 65_536  # at a time
LEAST_SECONDS = 0.001  # of patience: none at all would mean to wait for ever
_INCOMPLETE = object()


class DriverConnection(Protocol):
    """What we use of the driver's connection, whose own types are incomplete."""

    pid: int

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def _get_socket(self) -> socket.socket | None: ...


class Wire:
    """An open connection. `OSError` and `RedisError` say that it broke or took too long; it is closed then."""

    def __init__(self, connection: DriverConnection, *, send_seconds: float) -> None:
        """Takes over a connection that the driver has made. It may take so long to send something."""
        found = connection._get_socket()  # there is no public way
        if found is None:
            raise Disconnected("the connection is closed")
        self.pid = connection.pid
        self._connection = connection
        self._socket = found
        self._buffer = bytearray(READ_BYTES)
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=_refusal, notEnoughData=_INCOMPLETE)
        self._send_seconds = send_seconds
        self._tls = isinstance(found, ssl.SSLSocket)  # it has more to do than to wait for its socket
        self.in_sync = True
        if not self._tls:
            found.settimeout(None)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(send_seconds))

    def exchange(self, packed: bytes, count: int, *, deadline: float) -> list[Reply]:
        """Sends commands and returns that many replies, refusals included, before that monotonic time."""
        self.in_sync = False
        replies: list[Reply] = []
        try:
            self._send(packed)
            while len(replies) < count:
                reply = self._reader.gets()
                if reply is _INCOMPLETE:
                    self._read(deadline)
                else:
                    replies.append(reply)
        except BlockingIOError as error:
            self.close()
            raise TimeoutError("no answer in time") from error
        except BaseException:
            self.close()
            raise
        self.in_sync = True
        return replies

    def is_quiet(self) -> bool:
        """Whether the connection is still open and has nothing to say."""
        if self._reader.has_data():
            return False
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return not poller.poll(0)

    def close(self) -> None:
        """Ends it."""
        self.in_sync = False
        self._connection.disconnect()

    def _send(self, packed: bytes) -> None:
        if self._tls:
            self._socket.settimeout(self._send_seconds)
        self._socket.sendall(packed)

    def _read(self, deadline: float) -> None:
        patience = max(deadline - time.monotonic(), LEAST_SECONDS)
        if self._tls:
            self._socket.settimeout(patience)
        else:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(patience))
        size = self._socket.recv_into(self._buffer)
        if size == 0:
            raise Disconnected("the server has closed the connection")
        self._reader.feed(self._buffer, 0, size)  # type: ignore[arg-type]  # it takes any bytes


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))


def _refusal(words: str) -> ResponseError:
    return (NoScriptError if words.startswith("NOSCRIPT") else ResponseError)(words)
