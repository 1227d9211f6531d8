"""A scripted SMTP server: strict about what it is told, and able to refuse, stall, cut or talk nonsense at any phase.

with Smtpd() as server:
    server.script.on("rcpt", Say("550 5.1.1 No such user"), only="bad@")
    server.script.on("dot", Accept(), Cut(), times=1)
    ...
    server.wait_for(1)
    assert server.violations == []
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Phase = Literal[
    "connect", "handshake", "ehlo", "starttls", "auth", "mail", "early", "rcpt", "data", "body", "dot", "rset"
]


@dataclass(frozen=True, slots=True)
class Say:
    """A reply, lines separated by CRLF, the last CRLF added. Its code decides whether the command has taken effect."""

    text: str


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes as they are, which may be half a reply or none."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Accept:
    """At the final dot: keep the message, without a reply."""


@dataclass(frozen=True, slots=True)
class Silence:
    """No reply until the client goes away."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection; with `reset`, so that the client sees a reset."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait for the event, but not longer than so many seconds, then go on; `reached` is set meanwhile."""

    until: threading.Event
    seconds: float = 30.0
    reached: threading.Event = field(default_factory=threading.Event)


Action = Say | Raw | Accept | Silence | Cut | Hold

BROKEN_HANDSHAKES: Mapping[str, tuple[Action, ...]] = {
    "alert": (Raw(b"\x15\x03\x03\x00\x02\x02\x28"), Cut()),
    "garbage": (Raw(b"not TLS at all, sorry\r\n"), Silence()),
    "cut": (Cut(),),
    "silence": (Silence(),),
}


@dataclass(slots=True, kw_only=True)
class Rule:
    """What to do at a phase in place of the normal thing, as often as `times` says (None: always)."""

    phase: Phase
    actions: tuple[Action, ...]
    only: str
    times: int | None


class Script:
    """The rules, newest first. May be changed while the server runs. `early` is a MAIL before the reply to the final
    dot of the email before; where no rule is about that, those for `mail` hold."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []

    def on(self, phase: Phase, *actions: Action, only: str = "", times: int | None = None) -> None:
        """From now on do this at this phase, if the command's argument (at `dot`: the recipients) contains `only`."""
        with self._lock:
            self._rules.insert(0, Rule(phase=phase, actions=actions, only=only, times=times))

    def clear(self) -> None:
        """From now on everything is normal."""
        with self._lock:
            self._rules.clear()

    def next(self, phase: Phase, argument: str) -> tuple[Action, ...]:
        """What to do now; nothing means the normal thing."""
        with self._lock:
            for rule in self._rules:
                if rule.phase == phase and rule.only in argument and rule.times != 0:
                    if rule.times is not None:
                        rule.times -= 1
                    return rule.actions
            return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that the server keeps: `data` is un-stuffed, `session` the number of its connection from 1."""

    session: int
    mail_from: str
    rcpt_to: tuple[str, ...]
    data: bytes
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the server offers after EHLO. `users` maps names to passwords and makes AUTH required; beyond `connections`
    at once it turns clients away."""

    pipelining: bool = True
    eight_bit: bool = True
    smtputf8: bool = True
    size: int | None = 10_000_000
    starttls: bool = False
    implicit_tls: bool = False
    users: Mapping[str, str] = field(default_factory=dict)
    connections: int = 1000
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")


class Session(Protocol):
    """One connection; see `smtpd_session`."""

    sock: socket.socket

    def serve(self) -> None:
        """Speaks until either side ends it."""


class Smtpd:
    """Listens on loopback while the `with` lasts, on a free port if none is named. All lists are safe to read from the
    test's thread.

    `violations` names everything that a strict server would object to; `commands` holds each line with its session.
    """

    def __init__(
        self,
        offer: Offer | None = None,
        *,
        context: ssl.SSLContext | None = None,
        drip: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.offer = offer or Offer()
        self.context = context
        self.drip = drip  # every reply in single bytes
        self.script = Script()
        self.received: list[Received] = []
        self.violations: list[str] = []
        self.commands: list[tuple[int, str]] = []
        self.sessions = 0
        self.followed = 0  # emails that began before the reply to the final dot of the one before them
        self.host = host
        self.port = port
        self._changed = threading.Condition()
        self._sessions: set[Session] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def __enter__(self) -> "Smtpd":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server as relay URL."""
        return f"{'smtps' if self.offer.implicit_tls else 'smtp'}://{self.host}:{self.port}"

    def start(self) -> None:
        """Begins to listen, on the same port as before if there was one."""
        self._listener = socket.create_server((self.host, self.port), backlog=200)
        self.port = self._listener.getsockname()[1]
        self._run(self._accept, self._listener)

    def stop(self) -> None:
        """Stops listening and ends every connection."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(timeout=10)
        self._threads.clear()

    def hang_up(self) -> None:
        """Ends every connection and goes on listening."""
        with self._changed:
            for session in self._sessions:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(session.sock, socket.SHUT_RDWR)  # not TLS's own, which is not thread-safe

    def wait_for(self, count: int, *, seconds: float = 10) -> list[Received]:
        """The messages, as soon as there are so many."""
        self.wait_until(lambda: len(self.received) >= count, f"{count} messages", seconds=seconds)
        return list(self.received)

    def wait_until(self, condition: Callable[[], bool], what: str, *, seconds: float = 10) -> None:
        """Returns when the condition holds; it is looked at after everything that happens here."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout=seconds):
                raise AssertionError(f"no {what} within {seconds} s; received {len(self.received)}")

    @property
    def open_sessions(self) -> int:
        """How many connections stand at this moment."""
        return len(self._sessions)

    def has_heard(self, verb: str) -> bool:
        """Whether a command with this verb has come in."""
        return any(line.upper().startswith(verb) for _, line in list(self.commands))

    def note(self, what: list[Received] | list[str] | list[tuple[int, str]], entry: object) -> None:
        """Adds to one of the lists and tells whoever waits."""
        with self._changed:
            what.append(entry)  # type: ignore[arg-type]  # each caller gives the list its own kind
            self._changed.notify_all()

    def _accept(self, listener: socket.socket) -> None:
        from tests.smtpd_session import ScriptedSession  # it needs the actions defined above

        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._changed:
                self.sessions += 1
                session = ScriptedSession(self, sock, self.sessions)
                self._sessions.add(session)
                self._changed.notify_all()
            self._run(self._serve, session)

    def _serve(self, session: Session) -> None:
        try:
            session.serve()
        finally:
            with self._changed:
                self._sessions.discard(session)
                session.sock.close()
                self._changed.notify_all()

    def _run(self, target: Callable[..., None], argument: object) -> None:
        thread = threading.Thread(target=target, args=(argument,), daemon=True)
        self._threads.append(thread)
        thread.start()
