"""Which relay to hand mail to, and how to speak with it. Values and the parsing of relay URLs; nothing is connected."""

import ipaddress
import re
import socket
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?\.?|::[0-9A-Fa-f:.]*")
_EHLO_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[A-Za-z0-9:.]+\]")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_FULL_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}")
LONGEST_CREDENTIALS = 9000  # octets, with two NULs; in base64 they stay below the 12,288 of RFC 4954 §4
_DEFAULT_PORTS = {"smtp": 587, "smtps": 465}


class Tls(StrEnum):
    """When the connection is encrypted."""

    STARTTLS = "starttls"  # after STARTTLS (RFC 3207), which must be offered
    IMPLICIT = "implicit"  # from the first byte (RFC 8314)
    OPPORTUNISTIC = "opportunistic"  # after STARTTLS if that is offered and works, else not at all (RFC 7435)
    NONE = "none"  # never


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How many seconds the relay may take over each phase; `body` is the time without any progress. `attempt` is for
    all that comes before the final dot of one email.

    RFC 5321 §4.5.3.2 grants minutes. A short time for the final dot makes duplicates.
    """

    connect: float
    greeting: float
    command: float
    starttls: float
    auth: float
    body: float
    dot: float
    attempt: float


def own_name() -> str | None:
    """What to call ourselves in EHLO when nothing is configured: the host name, without asking any name server; None
    where that is no full name."""
    return full_name(socket.gethostname())


def full_name(name: str) -> str | None:
    """The name if it is fully qualified. Many relays refuse every recipient of a client that says another one, such as
    a container's (RFC 5321 §4.1.1.1)."""
    return name if _FULL_NAME.fullmatch(name) else None


def address_literal(address: str) -> str:
    """How a client without a full name says in EHLO where it speaks from (RFC 5321 §4.1.3)."""
    number = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv6Address):
        return f"[{number.ipv4_mapped}]" if number.ipv4_mapped else f"[IPv6:{number}]"
    return f"[{number}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """The next hop. `connections` is how many one `send` opens at most; `ca_file` is a PEM file of authorities to trust
    in place of the system's. Without an `ehlo_name`, each connection says its own address. Raises `ValueError` with one
    sentence, which never holds the password."""

    host: str
    port: int
    tls: Tls
    connections: int
    timeouts: Timeouts
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ehlo_name: str | None = field(default_factory=own_name)
    ca_file: str | None = None

    @classmethod
    def parse(cls, url: str, *, connections: int, timeouts: Timeouts, ca_file: str | None = None) -> "Relay":
        """Reads `smtp://user:password@host:587?tls=starttls` or `smtps://…`; user, password and query are
        percent-decoded.

        STARTTLS is required unless `tls=opportunistic` or `tls=none` says otherwise; for a relay on this machine
        without credentials it is opportunistic. Raises `ValueError` with one sentence, which never holds the password.
        """
        parts = _split(url)
        username, password = _credentials(parts)
        host = parts.hostname or ""
        return cls(
            host=host,
            port=_port(parts),
            tls=_tls(parts, default=Tls.OPPORTUNISTIC if is_loopback(host) and username is None else Tls.STARTTLS),
            username=username,
            password=password,
            connections=connections,
            ca_file=ca_file,
            timeouts=timeouts,
        )

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise ValueError("the relay's host name is empty or has characters that no host name has")
        if not 0 < self.port < 65536:
            raise ValueError("the relay's port is not between 1 and 65535")
        if self.ehlo_name is not None and not _EHLO_NAME.fullmatch(self.ehlo_name):
            raise ValueError("the EHLO name is neither a host name nor an address in brackets")
        if self.connections < 1:
            raise ValueError("at least one connection to the relay is needed")
        self._check_credentials()

    def _check_credentials(self) -> None:
        if (self.username is None) != (self.password is None):
            raise ValueError("the relay needs both a user name and a password, or neither")
        if "\0" in (self.username or "") + (self.password or ""):
            raise ValueError("the relay's user name or password has a NUL character, which SMTP cannot carry")
        if len(f"\0{self.username}\0{self.password}".encode()) > LONGEST_CREDENTIALS:
            raise ValueError(f"the relay's user name and password have more than {LONGEST_CREDENTIALS - 2:,} octets")
        if self.username is not None and self.tls is Tls.NONE and not self.is_loopback:
            raise ValueError("a password is never sent unencrypted: the relay needs tls=starttls or smtps://")

    @property
    def name(self) -> str:
        """The relay as URL without user and password, for logs and timelines."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'smtps' if self.tls is Tls.IMPLICIT else 'smtp'}://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the relay is this very machine."""
        return is_loopback(self.host)

    @property
    def may_go_unencrypted(self) -> bool:
        """Whether to do without encryption where it does not work: never with a password that leaves this machine."""
        return self.tls is Tls.OPPORTUNISTIC and (self.username is None or self.is_loopback)

    @property
    def verifies_certificate(self) -> bool:
        """Not where a relay could as well offer no encryption."""
        return not self.may_go_unencrypted


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine without asking any name server."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # its text can hold the whole URL
        raise ValueError("the relay URL cannot be read: is a special character in it not percent-encoded?") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("the relay URL does not begin with smtp:// or smtps://")
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("the relay URL has more than user, password, host, port and options (in a password / is %2F)")
    return parts


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:  # its text can hold a part of the password
        raise ValueError("the relay URL's port is not a number between 1 and 65535") from None
    return _DEFAULT_PORTS[parts.scheme] if port is None else port


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    try:
        username = unquote(parts.username, errors="strict") if parts.username else None
        password = unquote(parts.password, errors="strict") if parts.password else None
    except UnicodeDecodeError:
        raise ValueError("the relay URL's user name or password is not percent-encoded UTF-8") from None
    return username, password


def _tls(parts: SplitResult, *, default: Tls) -> Tls:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    chosen = options.pop("tls", None)
    if options:
        raise ValueError("the relay URL has an option other than tls")
    if parts.scheme == "smtps":
        if chosen not in (None, "implicit"):
            raise ValueError("a relay URL with smtps:// is encrypted from the first byte and takes no other tls option")
        return Tls.IMPLICIT
    if chosen is None:
        return default
    if chosen not in ("starttls", "opportunistic", "none"):
        raise ValueError("the relay URL's tls option is none of starttls, opportunistic, none")
    return Tls(chosen)
