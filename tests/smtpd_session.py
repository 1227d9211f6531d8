"""One connection to the scripted SMTP server of `smtpd`."""

import base64
import contextlib
import re
import socket
import ssl
import struct

from tests.smtpd import Accept, Action, Cut, Hold, Phase, Raw, Received, Say, Silence, Smtpd

_MAIL = re.compile(r"FROM:<([^<>\s]*)>((?: \S+)*)", re.IGNORECASE)
_RCPT = re.compile(r"TO:<([^<>\s]+)>", re.IGNORECASE)
_LONGEST_LINE = 998


class _Gone(Exception):
    """The connection has ended, by either side."""


class ScriptedSession:
    """Speaks with one client: the script's actions where there are some, the normal thing otherwise."""

    def __init__(self, server: Smtpd, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self._server = server
        self._number = number
        self._buffer = b""
        self._secure = False
        self._authenticated = not server.offer.users
        self._greeted = False
        self._mail: tuple[str, tuple[str, ...]] | None = None
        self._rcpt_to: list[str] = []
        self._is_followed = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(60)

    def serve(self) -> None:
        """Greets and answers commands until either side ends it."""
        with contextlib.suppress(_Gone, OSError):
            if self._server.offer.implicit_tls:
                self._encrypt()
            if self._server.open_sessions > self._server.offer.connections:
                return self._say("421 4.7.0 Too many connections")
            self._do("connect", "", "220 smtpd.example ESMTP")
            while True:
                self._command(self._line())

    # -- commands --------------------------------------------------------------------------------------------------

    def _command(self, line: str) -> None:
        self._server.note(self._server.commands, (self._number, line))
        verb, _, argument = line.partition(" ")
        handler = {
            "EHLO": self._ehlo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail_from,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "QUIT": self._quit,
        }.get(verb.upper())
        if handler is None:
            return self._say("500 5.5.2 Unknown command")
        handler(argument)

    def _ehlo(self, argument: str) -> None:
        offer = self._server.offer
        if not argument:
            self._object("EHLO without a name")
        words = ["smtpd.example"]
        words += ["PIPELINING"] * offer.pipelining + ["8BITMIME"] * offer.eight_bit + ["SMTPUTF8"] * offer.smtputf8
        words += ["ENHANCEDSTATUSCODES"] + ([f"SIZE {offer.size}"] if offer.size is not None else [])
        words += ["STARTTLS"] * (offer.starttls and not self._secure)
        words += [f"AUTH {' '.join(offer.mechanisms)}"] * bool(offer.users)
        reply = "\r\n".join(f"250{' ' if i == len(words) else '-'}{word}" for i, word in enumerate(words, 1))
        self._greeted = self._do("ehlo", argument, reply)

    def _starttls(self, argument: str) -> None:
        if not self._do("starttls", argument, "220 2.0.0 Go ahead"):
            return
        if self._buffer:
            self._object("bytes after STARTTLS before the handshake")
        self._encrypt()
        self._greeted = False

    def _auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        actions = self._server.script.next("auth", argument)
        if mechanism.upper() == "LOGIN":
            name, password = (self._challenge(text) for text in ("Username:", "Password:"))
        else:
            _, name, password = base64.b64decode(initial).decode().split("\0")
        right = self._server.offer.users.get(name) == password
        self._authenticated = self._act(
            actions, "235 2.7.0 Welcome" if right else "535 5.7.8 Authentication credentials invalid"
        )

    def _challenge(self, text: str) -> str:
        self._say(f"334 {base64.b64encode(text.encode()).decode()}")
        return base64.b64decode(self._line()).decode()

    def _mail_from(self, argument: str) -> None:
        match = _MAIL.fullmatch(argument)
        if match is None:
            return self._object_and_say("malformed MAIL", "501 5.5.4 Syntax error")
        parameters = tuple(match[2].split())
        self._check_parameters(match[1], parameters)
        if not (self._greeted and self._mail is None):
            return self._say("503 5.5.1 Not now")
        if not self._authenticated:
            return self._say("530 5.7.0 Authentication required")
        too_early = self._server.script.next("early", argument) if self._is_followed else ()
        if self._act(too_early or self._server.script.next("mail", argument), "250 2.1.0 Ok"):
            self._mail, self._rcpt_to = (match[1], parameters), []

    def _check_parameters(self, address: str, parameters: tuple[str, ...]) -> None:
        offer = self._server.offer
        allowed = {"SIZE": offer.size is not None, "BODY": offer.eight_bit, "SMTPUTF8": offer.smtputf8}
        for parameter in parameters:
            if not allowed.get(parameter.partition("=")[0].upper(), False):
                self._object(f"parameter {parameter} was not offered")
        if not address.isascii() and "SMTPUTF8" not in parameters:
            self._object("an address that is not ASCII without SMTPUTF8")

    def _rcpt(self, argument: str) -> None:
        match = _RCPT.fullmatch(argument)
        if match is None:
            return self._object_and_say("malformed RCPT", "501 5.5.4 Syntax error")
        if self._mail is None:
            return self._say("503 5.5.1 MAIL first")
        if self._do("rcpt", argument, "250 2.1.5 Ok"):
            self._rcpt_to.append(match[1])

    def _rset(self, argument: str) -> None:
        self._mail = None
        self._do("rset", argument, "250 2.0.0 Ok")

    def _quit(self, argument: str) -> None:
        self._say("221 2.0.0 Bye")
        raise _Gone

    # -- the message -----------------------------------------------------------------------------------------------

    def _data(self, argument: str) -> None:
        if self._buffer:
            self._object("bytes after DATA before its reply")
        actions = self._server.script.next("data", argument)
        if not (self._mail and self._rcpt_to) and not actions:
            return self._say("554 5.5.1 No valid recipients")
        if not self._act(actions, "354 End data with <CR><LF>.<CR><LF>", good="3"):
            return
        if actions := self._server.script.next("body", ""):
            self._receive()  # at least a part of the body, so that the client is in the middle of it
            self._act(actions, "")
        data = self._message()
        self._ended(data, self._server.script.next("dot", " ".join(self._rcpt_to)))

    def _message(self) -> bytes:
        while not (self._buffer.startswith(b".\r\n") or b"\r\n.\r\n" in self._buffer):
            self._receive()
        if self._buffer.startswith(b".\r\n"):
            data, self._buffer = b"", self._buffer[3:]
        else:
            end = self._buffer.index(b"\r\n.\r\n")
            data, self._buffer = self._buffer[: end + 2], self._buffer[end + 5 :]
        self._is_followed = self._server.offer.pipelining and self._buffer.startswith(b"MAIL ")
        self._server.followed += self._is_followed
        if self._buffer and not self._is_followed:
            self._object("bytes after the final dot before its reply that begin no email")
        return data

    def _ended(self, data: bytes, actions: tuple[Action, ...]) -> None:
        if self._mail is None or not self._rcpt_to:
            self._mail = None
            self._say("554 5.5.1 No valid recipients")
            return
        mail_from, parameters = self._mail
        self._check_data(data, parameters)
        message = Received(
            session=self._number,
            mail_from=mail_from,
            rcpt_to=tuple(self._rcpt_to),
            data=b"\r\n".join(line.removeprefix(b".") for line in data.split(b"\r\n")),
            parameters=parameters,
        )
        self._mail = None
        if not actions or Accept() in actions:
            self._server.note(self._server.received, message)
        self._act(actions, f"250 2.0.0 Ok: queued as {self._number:05X}")

    def _check_data(self, data: bytes, parameters: tuple[str, ...]) -> None:
        if data.count(b"\r\n") != data.count(b"\n") or data.count(b"\r\n") != data.count(b"\r"):
            self._object("a bare CR or LF in the message")
        if b"\0" in data or any(len(line) > _LONGEST_LINE + 1 for line in data.split(b"\r\n")):
            self._object("a NUL or an over-long line in the message")
        if not data.isascii() and "BODY=8BITMIME" not in parameters:
            self._object("8-bit data without BODY=8BITMIME")
        sizes = [int(p.removeprefix("SIZE=")) for p in parameters if p.startswith("SIZE=")]
        unstuffed = len(data) - data.count(b"\r\n..") - data.startswith(b"..")
        if sizes and sizes != [unstuffed]:
            self._object(f"SIZE={sizes[0]} but {unstuffed} bytes")

    # -- actions and bytes -----------------------------------------------------------------------------------------

    def _do(self, phase: Phase, argument: str, normally: str) -> bool:
        """Plays the script's actions, or says what is normal; returns whether the reply was good."""
        return self._act(self._server.script.next(phase, argument), normally)

    def _act(self, actions: tuple[Action, ...], normally: str, *, good: str = "2") -> bool:
        code = ""
        for action in actions or (Say(normally),):
            match action:
                case Say(text):
                    code = text[:1]
                    self._say(text)
                case Raw(data):
                    self._send(data)
                case Silence():
                    self._listen_in_vain()
                case Cut(reset):
                    self._cut(reset=reset)
                case Hold(until, seconds, reached):
                    reached.set()
                    until.wait(timeout=seconds)
                case Accept():
                    pass
        return code == good

    def _cut(self, *, reset: bool) -> None:
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Gone

    def _listen_in_vain(self) -> None:
        while True:
            self._receive()

    def _encrypt(self) -> None:
        if actions := self._server.script.next("handshake", ""):
            self._act(actions, "")
        assert self._server.context is not None
        try:
            self.sock = self._server.context.wrap_socket(self.sock, server_side=True)
        except (ssl.SSLError, OSError) as exc:
            raise _Gone from exc
        self._buffer = b""
        self._secure = True

    def _line(self) -> str:
        while b"\n" not in self._buffer:
            self._receive()
        line, self._buffer = self._buffer.split(b"\n", 1)
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            self._object("a command line that does not end with CRLF")
        if self._buffer and not self._server.offer.pipelining:
            self._object("commands sent together, though PIPELINING is not offered")
        return line.removesuffix(b"\r").decode(errors="replace")

    def _receive(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise _Gone
        self._buffer += data

    def _say(self, text: str) -> None:
        self._send(text.encode() + b"\r\n")

    def _send(self, data: bytes) -> None:
        pieces = [data[i : i + 1] for i in range(len(data))] if self._server.drip else [data]
        for piece in pieces:
            self.sock.sendall(piece)

    def _object(self, violation: str) -> None:
        self._server.note(self._server.violations, violation)

    def _object_and_say(self, violation: str, reply: str) -> None:
        self._object(violation)
        self._say(reply)
