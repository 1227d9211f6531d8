"""What goes wrong on one connection ends that connection alone, whether the relay's fault or ours."""

import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pytest

from postroom.mail.outcome import Envelope, HandOff, Phase, Verdict
from postroom.transport.smtp.connection import Connection
from postroom.transport.smtp.pool import ConnectionPool
from postroom.transport.smtp.relay import Relay
from postroom.transport.smtp.route import Route
from postroom.transport.smtp.send import SendLoop
from postroom.transport.smtp.wire import tls_context
from tests import certificates
from tests.certificates import Certificates
from tests.sending import OpenSmtp, envelope, pass_all, relay_at, send, verdicts
from tests.smtpd import Cut, Hold, Offer, Say, Smtpd

STARTTLS = Offer(starttls=True)


@pytest.fixture
def tls(tmp_path: Path) -> Certificates:
    return certificates.make(tmp_path)


class ResetAfterGoAhead:
    """A `Take` that sees to it that the relay's 220 to STARTTLS and a reset have both come in before they are read."""

    def __init__(self, server: Smtpd, *envelopes: Envelope) -> None:
        self._server = server
        self._waiting = deque(envelopes)
        self._go_ahead = threading.Event()
        server.script.on("starttls", Hold(self._go_ahead), Say("220 2.0.0 Go ahead"), Cut(reset=True), times=1)

    def __call__(self, free: int) -> Sequence[Envelope]:
        if self._server.has_heard("STARTTLS") and not self._go_ahead.is_set():
            self._go_ahead.set()
            self._server.wait_until(lambda: self._server.open_sessions == 0, "reset")
        return [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]


def handed_off(batches: Sequence[Sequence[HandOff]]) -> list[HandOff]:
    return [hand_off for batch in batches for hand_off in batch]


def test_reset_before_the_handshake_is_the_routes_trouble(tls: Certificates, opened: OpenSmtp) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        transport = opened(f"{server.url}?tls=starttls", ca_file=tls.ca_file)
        take = ResetAfterGoAhead(server, envelope())
        (hand_off,) = handed_off(list(transport.send(take, fence=pass_all)))
        (outcome,) = hand_off.outcomes
        assert (outcome.verdict, outcome.phase) == (Verdict.ROUTE, Phase.STARTTLS)
        assert outcome.message == "the TLS handshake failed: the relay reset the connection"
        assert verdicts(send(transport, envelope())[0]) == [Verdict.ACCEPTED]


def test_reset_before_the_handshake_opens_the_breaker_in_the_end(tls: Certificates, opened: OpenSmtp) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        transport = opened(f"{server.url}?tls=starttls", ca_file=tls.ca_file)
        for _ in range(3):
            take = ResetAfterGoAhead(server, envelope())
            server.commands.clear()
            list(transport.send(take, fence=pass_all))
        assert transport.resting() > 0


def test_wished_for_encryption_that_ends_in_a_reset_is_left_out(tls: Certificates, opened: OpenSmtp) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        take = ResetAfterGoAhead(server, envelope(), envelope())
        hand_offs = handed_off(list(opened(server.url).send(take, fence=pass_all)))
        assert [verdicts(hand_off) for hand_off in hand_offs] == [[Verdict.ACCEPTED]] * 2
        assert [line for _, line in server.commands].count("STARTTLS") == 1


def test_ping_tells_of_a_reset_before_the_handshake(tls: Certificates, opened: OpenSmtp) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        server.script.on("starttls", Say("220 2.0.0 Go ahead"), Cut(reset=True))
        with pytest.raises(ConnectionError, match="handshake failed"):
            opened(f"{server.url}?tls=starttls", ca_file=tls.ca_file).ping()


class Unwilling(ssl.SSLContext):
    """Closes the socket that it fails to wrap, as the `ssl` module does where a reset comes in just then."""

    def wrap_socket(self, sock, *_args, **_kwargs):  # type: ignore[no-untyped-def]  # as the class above has it
        sock.close()
        raise ConnectionResetError(104, "Connection reset by peer")


def test_number_of_a_socket_that_was_closed_while_it_was_wrapped_may_be_used_again(tls: Certificates) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        route = Route(relay(server, "opportunistic"), Unwilling(ssl.PROTOCOL_TLS_CLIENT), random=lambda: 0.5)
        route.breaker.connected()  # so that two may be opened at a time
        pool = ConnectionPool(route)
        pool.grow(2, time.monotonic())
        broken: set[Connection] = set()
        while len(broken) < 2:
            broken |= {connection for connection in step(pool) if connection.dialogue.broken}
        for connection in sorted(broken, key=Connection.fileno, reverse=True):  # the first one's successor gets the
            pool.attend(connection, time.monotonic())  # lowest free number: that of the second, which is not gone yet
        deadline = time.monotonic() + 10
        while pool.is_opening and time.monotonic() < deadline:
            for connection in step(pool):
                pool.attend(connection, time.monotonic())
        idle = [pool.acquire(fresh=True, now=time.monotonic()) for _ in range(3)]
        assert [connection is not None for connection in idle] == [True, True, False]
        pool.close([connection for connection in idle if connection], time.monotonic())


def step(pool: ConnectionPool) -> list[Connection]:
    """Has the connections answer what comes in next; returns those on which something has happened."""
    happened = pool.wait(1)
    for connection in happened:
        connection.on_event()
        connection.flush(time.monotonic())
    return happened


# -- our own mistakes --------------------------------------------------------------------------------------------------


class Stumbling(ssl.SSLSocket):
    """Raises what nobody expects, once, when these words come in."""

    words = b""
    has_stumbled = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        data = super().recv(buflen, flags)
        if self.words in data and not Stumbling.has_stumbled:
            Stumbling.has_stumbled = True
            raise RuntimeError("a bug")
        return data


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (b"354", Verdict.TRANSIENT),
        (b"queued as", Verdict.UNCERTAIN),
    ],
)
def test_unexpected_error_ends_one_connection_and_its_email_alone(
    tls: Certificates, words: bytes, verdict: Verdict, caplog: pytest.LogCaptureFixture
) -> None:
    Stumbling.words, Stumbling.has_stumbled = words, False
    with Smtpd(STARTTLS, context=tls.server) as server:
        chosen = relay(server, "starttls", ca_file=tls.ca_file)
        context = tls_context(chosen)
        context.sslsocket_class = Stumbling
        emails = [envelope() for _ in range(5)]
        hand_offs = send_over(Route(chosen, context, random=lambda: 0.5), *emails)
        assert sorted(hand_off.email_id for hand_off in hand_offs) == sorted(email.email_id for email in emails)
        found = sorted(verdicts(hand_off)[0] for hand_off in hand_offs)
        assert found == sorted([verdict, *[Verdict.ACCEPTED] * 4])
        assert [record.message for record in caplog.records] == ["unexpected error"]
        assert caplog.records[0].exc_info is not None


def relay(server: Smtpd, tls: str, *, ca_file: str | None = None) -> Relay:
    return relay_at(f"{server.url}?tls={tls}", ca_file=ca_file)


def send_over(route: Route, *envelopes: Envelope) -> list[HandOff]:
    """Sends these over a route whose TLS context is the test's own."""
    waiting = deque(envelopes)

    def take(free: int) -> Sequence[Envelope]:
        return [waiting.popleft() for _ in range(min(free, len(waiting)))]

    try:
        return handed_off(list(SendLoop(route, take=take, fence=pass_all, clock=time.monotonic).run()))
    finally:
        route.close()
