"""Plays the caller of a transport: brings envelopes, is the fence, and keeps what comes back."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from postroom.mail.outcome import Envelope, HandOff, Verdict
from postroom.transport.base import Fence, Transport
from postroom.transport.smtp import SmtpTransport
from postroom.transport.smtp.relay import Relay, Timeouts, Tls

PATIENT = Timeouts(connect=10, greeting=10, command=10, starttls=10, auth=10, body=10, dot=10, attempt=900)
QUICK = Timeouts(connect=0.7, greeting=0.7, command=0.7, starttls=0.7, auth=0.7, body=0.7, dot=0.7, attempt=900)

OpenSmtp = Callable[..., SmtpTransport]

_serial = count(1)
SENDER = "sender@example.org"


def relay(port: int = 25, *, tls: Tls = Tls.NONE, **changes: Any) -> Relay:
    """The relay on that port of this machine."""
    fields: dict[str, Any] = {"host": "127.0.0.1", "connections": 5, "timeouts": PATIENT}
    return Relay(port=port, tls=tls, **{**fields, **changes})


def relay_at(url: str, *, connections: int = 5, timeouts: Timeouts = PATIENT, **options: Any) -> Relay:
    """The relay of that URL; the options are those of `Relay.parse`."""
    return Relay.parse(url, connections=connections, timeouts=timeouts, **options)


def envelope(*recipients: str, mail_from: str = SENDER, size: int = 0, attempt: int = 1) -> Envelope:
    """A small email (or one of about `size` bytes), whose id is also its subject."""
    email_id = f"email-{next(_serial)}"
    data = f"From: {mail_from}\r\nSubject: {email_id}\r\n\r\nHello.\r\n".encode()
    data += b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n" * (size // 64)
    rcpt_to = recipients or ("anna@example.com",)
    return Envelope(email_id=email_id, mail_from=mail_from, rcpt_to=rcpt_to, data=data, attempt=attempt)


def subject(data: bytes) -> str:
    """The id of the email that was received as these bytes."""
    (line,) = [line for line in data.split(b"\r\n") if line.startswith(b"Subject: ")]
    return line.removeprefix(b"Subject: ").decode()


def pass_all(ids: Collection[str]) -> Collection[str]:
    """A fence that lets everything through."""
    return ids


class Clock:
    """The monotonic clock, which can be set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@contextmanager
def transports(clock: Clock | None = None) -> Iterator[OpenSmtp]:
    """A function that makes SMTP transports from a URL and options of `relay_at`; all are closed in the end."""
    with ExitStack() as stack:

        def make(url: str, **options: Any) -> SmtpTransport:
            transport = SmtpTransport(relay_at(url, **options), clock=clock or time.monotonic, random=lambda: 0.5)
            stack.callback(transport.close)
            return transport

        yield make


class Caller:
    """One caller of `send`. Keeps the calls of the fence, the slots that `take` was offered, the times of yields."""

    def __init__(self, transport: Transport, *envelopes: Envelope, fence: Fence = pass_all) -> None:
        self.transport = transport
        self.waiting = deque(envelopes)
        self.fence_calls: list[list[str]] = []
        self.offered: list[int] = []
        self.most_under_way = 0
        self.hand_offs: list[HandOff] = []
        self.yielded_at: list[float] = []
        self.on_yield: Callable[[], None] = lambda: None
        self._taken = 0
        self._fence = fence

    def run(self) -> dict[str, HandOff]:
        """Sends until the transport has nothing under way and `waiting` is empty; each email must end exactly once."""
        self.yielded_at.append(time.monotonic())
        for batch in self.transport.send(self.take, fence=self.fence):
            self.hand_offs.extend(batch)
            self.yielded_at.append(time.monotonic())
            self.on_yield()
        by_id = {hand_off.email_id: hand_off for hand_off in self.hand_offs}
        assert len(by_id) == len(self.hand_offs), "an email ended twice"
        return by_id

    def take(self, free: int) -> Sequence[Envelope]:
        """The `Take` of this caller."""
        self.offered.append(free)
        taken = [self.waiting.popleft() for _ in range(min(free, len(self.waiting)))]
        self._taken += len(taken)
        self.most_under_way = max(self.most_under_way, self._taken - len(self.hand_offs))
        return taken

    def fence(self, ids: Collection[str]) -> Collection[str]:
        """The `Fence` of this caller."""
        self.fence_calls.append(list(ids))
        return self._fence(ids)

    @property
    def fenced(self) -> Counter[str]:
        """How often each email was asked about."""
        return Counter(email_id for call in self.fence_calls for email_id in call)

    @property
    def longest_silence(self) -> float:
        """The longest time between two yields, in seconds."""
        return max(after - before for before, after in zip(self.yielded_at, self.yielded_at[1:], strict=False))


def send(transport: Transport, *envelopes: Envelope, fence: Fence = pass_all) -> list[HandOff]:
    """Sends these and returns their hand-offs in the same order."""
    ended = Caller(transport, *envelopes, fence=fence).run()
    return [ended[envelope.email_id] for envelope in envelopes]


def verdicts(hand_off: HandOff) -> list[Verdict]:
    """The verdicts of a hand-off, in the order of its recipients."""
    return [outcome.verdict for outcome in hand_off.outcomes]


def in_threads(targets: Iterable[Callable[[], object]], *, seconds: float = 60) -> None:
    """Runs them at once and waits for all; the first exception is raised here."""
    failures: list[BaseException] = []

    def guarded(target: Callable[[], object]) -> None:
        try:
            target()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=guarded, args=(target,), daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=seconds)
        assert not thread.is_alive(), "a thread did not end in time"
    if failures:
        raise failures[0]
