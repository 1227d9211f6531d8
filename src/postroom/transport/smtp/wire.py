"""One non-blocking socket to the relay, plain or encrypted. What its bytes mean is left to `dialogue`."""

import contextlib
import errno
import os
import socket
import ssl

from postroom.transport.smtp.lookup import Address
from postroom.transport.smtp.relay import Relay

_CHUNK = 65536
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, InterruptedError)


class WireLost(Exception):
    """The connection is gone, for the reason in the text. `closed`: the relay's side ended it."""

    def __init__(self, problem: str, *, closed: bool = False) -> None:
        super().__init__(problem)
        self.closed = closed


def tls_context(relay: Relay) -> ssl.SSLContext:
    """How to encrypt: TLS 1.2 or newer, chain and name verified. Raises `ValueError` for an unusable `ca_file`."""
    if relay.verifies_certificate:
        try:
            context = ssl.create_default_context(cafile=relay.ca_file)
        except OSError as exc:
            raise ValueError(f"the relay's file of trusted authorities cannot be used: {relay.ca_file}") from exc
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Wire:
    """A connection that never blocks. Its methods but `close` may raise `WireLost`.

    `is_ready` says that bytes can be sent and received: it is connected, and no handshake is under way.
    """

    __slots__ = ("_error", "_fileno", "_sock", "is_connected", "is_encrypted", "is_ready", "wants_write")

    def __init__(self, address: Address) -> None:
        self._sock = socket.socket(address.family, socket.SOCK_STREAM)
        self._fileno = self._sock.fileno()
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_connected = False
        self.is_ready = False
        self.is_encrypted = False
        self.wants_write = True  # a connect that has ended, well or not, shows as writable
        self._error = self._sock.connect_ex(address.sockaddr)

    def fileno(self) -> int:
        """For the selector, which must also forget a socket that is closed already."""
        return self._fileno

    def own_address(self) -> str:
        """The address of our end of a connection that stands."""
        try:
            return str(self._sock.getsockname()[0])
        except OSError as exc:
            raise WireLost(f"the connection broke: {_reason(exc)}", closed=_is_close(exc)) from exc

    def advance(self) -> None:
        """Goes on with connecting or the handshake, as far as it goes without waiting."""
        if self.is_encrypted:
            return self._shake_hands()
        self._finish_connect()
        self.is_connected = self.is_ready = True
        self.wants_write = False

    def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """Starts the TLS handshake; `advance` goes on with it."""
        try:
            self._sock.getpeername()  # `wrap_socket` would close the socket if it is reset already
            self._sock = context.wrap_socket(self._sock, server_hostname=host, do_handshake_on_connect=False)
        except (OSError, ValueError) as exc:
            raise WireLost(f"the TLS handshake failed: {_reason(exc)}") from exc
        self.is_encrypted = True
        self.is_ready = False
        self._shake_hands()

    def send(self, data: memoryview | bytes) -> int:
        """Sends what fits; returns how many bytes that were."""
        try:
            return self._sock.send(data)
        except _WOULD_BLOCK:
            return 0
        except OSError as exc:
            raise WireLost(f"the connection broke: {_reason(exc)}", closed=_is_close(exc)) from exc

    def receive(self) -> bytes:
        """Some bytes that have come in, or none. An end of the connection is raised as `WireLost`."""
        try:
            data = self._sock.recv(_CHUNK)
        except _WOULD_BLOCK:
            return b""
        except OSError as exc:
            raise WireLost(f"the connection broke: {_reason(exc)}", closed=_is_close(exc)) from exc
        if not data:
            raise WireLost("the relay closed the connection", closed=True)
        return data

    def close(self) -> None:
        """Lets go at once, without a word."""
        with contextlib.suppress(OSError):
            self._sock.close()

    def _finish_connect(self) -> None:
        under_way = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if self._error in under_way else self._error
        if error:
            raise WireLost(f"cannot connect: {os.strerror(error)}")

    def _shake_hands(self) -> None:
        assert isinstance(self._sock, ssl.SSLSocket)
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self.wants_write = False
        except ssl.SSLWantWriteError:
            self.wants_write = True
        except OSError as exc:
            raise WireLost(f"the TLS handshake failed: {_reason(exc)}") from exc
        else:
            self.is_ready = True
            self.wants_write = False


def _is_close(exc: OSError) -> bool:
    return isinstance(exc, ConnectionResetError | BrokenPipeError | ssl.SSLEOFError | ssl.SSLZeroReturnError)


def _reason(exc: Exception) -> str:
    """What went wrong, without OpenSSL's source positions."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({exc.verify_message})"
    if isinstance(exc, ssl.SSLError):
        return (exc.reason or "unexpected end").lower().replace("_", " ")
    if (
        isinstance(exc, OSError) and exc.errno == errno.ENOTCONN
    ):  # what remains of a reset once the bytes before it are read
        return "the relay reset the connection"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return type(exc).__name__
