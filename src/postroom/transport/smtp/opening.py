"""How a connection becomes ready for mail: greeting, EHLO, STARTTLS, EHLO, AUTH. Replies in, bytes out; no I/O.

A relay that does not know EHLO is told HELO (RFC 5321 §3.2) and taken to offer nothing.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from postroom.mail.outcome import Phase, Reply
from postroom.transport.smtp import command, replies
from postroom.transport.smtp.relay import Relay, Tls, address_literal
from postroom.transport.smtp.replies import RawReply

_EHLO_UNKNOWN = range(500, 505)  # RFC 5321 §4.2.2: not recognised, not understood or not implemented

_CLEAR_TEXT = "wrong version number"  # what OpenSSL makes of a greeting that comes in place of a handshake


class RouteTrouble(Exception):
    """The relay cannot be used, whatever the email. `lasting`: waiting will not mend it."""

    def __init__(self, phase: Phase, problem: str, *, reply: Reply | None = None, lasting: bool = False) -> None:
        super().__init__(f"{problem}: {replies.in_one_line(reply)}" if reply else problem)
        self.phase = phase
        self.reply = reply
        self.lasting = lasting

    def or_rather(self, before: "RouteTrouble | None") -> "RouteTrouble":
        """Which to tell of: what was said at another address says more than that this one cannot be connected to."""
        if before is not None and before.phase is not Phase.CONNECT and self.phase is Phase.CONNECT:
            return before
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the relay offers (RFC 5321 §4.1.1.1). `size` is its limit in bytes, 0 when it names none."""

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    starttls: bool = False
    sizes: bool = False
    size: int = 0
    mechanisms: frozenset[str] = frozenset()


def read_features(raw: RawReply) -> Features:
    """Reads the reply to EHLO; its first line is only a greeting."""
    offered: dict[str, list[str]] = {}
    for line in raw.lines[1:]:
        keyword, *values = line.decode("ascii", "replace").upper().replace("AUTH=", "AUTH ").split() or [""]
        offered.setdefault(keyword, []).extend(values)
    limit = (offered.get("SIZE") or ["0"])[0]
    return Features(
        pipelining="PIPELINING" in offered,
        eight_bit="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered and "8BITMIME" in offered,
        starttls="STARTTLS" in offered,
        sizes="SIZE" in offered,
        size=int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 20 else 0,
        mechanisms=frozenset(offered.get("AUTH", ())),
    )


class Opening:
    """The talk from the greeting to the point where mail may be sent. Raises `RouteTrouble` where it cannot go on.

    `wants_tls` says that the caller must now encrypt the connection, forget what it has read, and call `secured`.
    """

    __slots__ = ("_knows_ehlo", "_name", "_relay", "_secrets", "features", "is_done", "phase", "secure", "wants_tls")

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._name = ""
        self._secrets: list[str] = []
        self._knows_ehlo = True
        self.features = Features()
        self.phase = Phase.CONNECT
        self.secure = False
        self.wants_tls = False
        self.is_done = False

    @property
    def failed_at(self) -> Phase:
        """Where trouble without a reply belongs. Until EHLO is answered encrypted, encryption does not work: a relay
        that wants a certificate of ours says so when the handshake is over for us (RFC 8446 §4.4.2.4)."""
        in_doubt = self._wants_starttls and self.secure and self.phase is Phase.EHLO
        return Phase.STARTTLS if in_doubt else self.phase

    def lost(self, problem: str) -> RouteTrouble:
        """The trouble where the connection ends before it is ready, with a hint where the URL's scheme may be wrong."""
        implicit = self._relay.tls is Tls.IMPLICIT
        if self.phase is Phase.GREETING and not implicit:
            problem += "; if this port is TLS from the first byte, as 465 is, write smtps://"
        elif self.phase is Phase.STARTTLS and implicit and _CLEAR_TEXT in problem:
            problem += "; if this port begins without TLS, as 587 and 25 do, write smtp://"
        return RouteTrouble(self.failed_at, problem)

    def connected(self, own_address: str) -> None:
        """The connection stands; the relay greets now, or after the handshake where that comes first."""
        self._name = self._relay.ehlo_name or address_literal(own_address)
        self.wants_tls = self._relay.tls is Tls.IMPLICIT
        self.phase = Phase.STARTTLS if self.wants_tls else Phase.GREETING

    def on_reply(self, raw: RawReply) -> bytes:
        """Takes the next reply; returns what to write, perhaps nothing."""
        if self.phase is Phase.GREETING:
            return self._greeted(raw)
        if self.phase is Phase.EHLO:
            return self._introduced(raw)
        if self.phase is Phase.STARTTLS:
            return self._may_encrypt(raw)
        return self._authenticating(raw)

    def secured(self) -> bytes:
        """The connection is encrypted now; what was learnt before is void, EHLO is said anew (RFC 3207 §4.2)."""
        self.secure = True
        self.wants_tls = False
        if self._relay.tls is Tls.IMPLICIT:
            self.phase = Phase.GREETING
            return b""
        return self._ehlo()

    @property
    def _wants_starttls(self) -> bool:
        return self._relay.tls in (Tls.STARTTLS, Tls.OPPORTUNISTIC)

    def _greeted(self, raw: RawReply) -> bytes:
        if raw.code != 220:
            raise self._trouble("the relay does not greet us", raw)
        return self._ehlo()

    def _ehlo(self) -> bytes:
        self.phase = Phase.EHLO
        return command.line("EHLO", self._name)

    def _introduced(self, raw: RawReply) -> bytes:
        if self._knows_ehlo and raw.code in _EHLO_UNKNOWN:
            self._knows_ehlo = False
            return command.line("HELO", self._name)
        if raw.code != 250:
            raise self._trouble(f"the relay refuses {'EHLO' if self._knows_ehlo else 'HELO'}", raw)
        self.features = read_features(raw) if self._knows_ehlo else Features()
        wanted = not self.secure and self._wants_starttls
        if wanted and self.features.starttls:
            self.phase = Phase.STARTTLS
            return command.line("STARTTLS")
        if wanted and self._relay.tls is Tls.STARTTLS:
            raise RouteTrouble(Phase.STARTTLS, "the relay does not offer STARTTLS, which is required")
        return self._authenticate()

    def _may_encrypt(self, raw: RawReply) -> bytes:
        if raw.code == 220:
            self.wants_tls = True
            return b""
        if self._relay.tls is Tls.OPPORTUNISTIC and raw.code != 421:
            return self._authenticate()
        raise self._trouble("the relay refuses STARTTLS", raw)

    def _authenticate(self) -> bytes:
        username, password = self._relay.username, self._relay.password
        if username is None or password is None:
            self.is_done = True
            return b""
        self.phase = Phase.AUTH
        if not self.secure and not self._relay.is_loopback:
            raise RouteTrouble(Phase.AUTH, "the password is not sent over an unencrypted connection", lasting=True)
        if "PLAIN" in self.features.mechanisms:
            response = command.plain(username, password)
            if len(f"AUTH PLAIN {response}\r\n") <= command.LONGEST_AUTH:
                return command.line("AUTH", "PLAIN", response)
            self._secrets = [response]
            return command.line("AUTH", "PLAIN")
        if "LOGIN" in self.features.mechanisms:
            self._secrets = [command.base64_of(password), command.base64_of(username)]
            return command.line("AUTH", "LOGIN")
        raise RouteTrouble(Phase.AUTH, "the relay offers neither AUTH PLAIN nor AUTH LOGIN", lasting=True)

    def _authenticating(self, raw: RawReply) -> bytes:
        if raw.code == 334 and self._secrets:
            return command.answer(self._secrets.pop())
        if raw.code != 235:
            raise self._trouble("the relay refuses our user name and password", raw, lasting=raw.code >= 500)
        self.is_done = True
        return b""

    def _trouble(self, problem: str, raw: RawReply, *, lasting: bool = False) -> RouteTrouble:
        return RouteTrouble(self.phase, problem, reply=self._without_secrets(raw), lasting=lasting)

    def _without_secrets(self, raw: RawReply) -> Reply:
        """Some servers repeat the line that they refuse, and replies are logged."""
        reply = replies.of(raw)
        if self.phase is Phase.AUTH and self._relay.username is not None and self._relay.password is not None:
            username, password = self._relay.username, self._relay.password
            written = command.plain(username, password), command.base64_of(password)
            for secret in (*written, command.base64_of(username), password, username):
                reply = replace(reply, text=reply.text.replace(secret, "***"))
        return reply
