"""Encryption that is wished for, not required: what does not work is left out, and mail goes out all the same."""

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from postroom.mail.outcome import Phase, Verdict
from postroom.transport.smtp.route import UNENCRYPTED_SECONDS
from tests import certificates
from tests.certificates import Certificates
from tests.sending import PATIENT, Clock, OpenSmtp, envelope, send, verdicts
from tests.smtpd import BROKEN_HANDSHAKES, Action, Cut, Offer, Smtpd

STARTTLS = Offer(starttls=True)
OK = [Verdict.ACCEPTED]


@pytest.fixture
def tls(tmp_path: Path) -> Certificates:
    return certificates.make(tmp_path)


def verbs(server: Smtpd, *, session: int | None = None) -> list[str]:
    return [line.partition(" ")[0] for number, line in server.commands if session in (None, number)]


def test_any_certificate_will_do_or_none(tls: Certificates, opened: OpenSmtp) -> None:
    for offer in (STARTTLS, Offer()):
        with Smtpd(offer, context=tls.other_name) as server:
            assert verdicts(send(opened(server.url), envelope())[0]) == OK
            assert server.has_heard("STARTTLS") is offer.starttls


@pytest.mark.parametrize("actions", BROKEN_HANDSHAKES.values(), ids=BROKEN_HANDSHAKES)
def test_handshake_that_fails_is_left_out_for_a_while(
    tls: Certificates,
    opened: OpenSmtp,
    clock: Clock,
    actions: tuple[Action, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        server.script.on("handshake", *actions)
        transport = opened(server.url, timeouts=replace(PATIENT, starttls=0.7))
        assert all(verdicts(hand_off) == OK for hand_off in send(transport, *[envelope() for _ in range(250)]))
        assert transport.resting() == 0
        assert verbs(server).count("STARTTLS") == 1
        assert [record.message for record in caplog.records] == ["relay not encrypted"]

        transport.close()
        server.script.clear()
        clock.ahead += UNENCRYPTED_SECONDS
        assert verdicts(send(transport, envelope())[0]) == OK
        assert verbs(server, session=server.sessions) == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA"]


def test_several_connections_that_fail_at_once_are_one_occasion(
    tls: Certificates, opened: OpenSmtp, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        transport = opened(server.url, connections=10)
        send(transport, envelope())  # the relay is known to be good: several connections are opened at a time
        transport.close()
        server.script.on("handshake", Cut())
        assert all(verdicts(hand_off) == OK for hand_off in send(transport, *[envelope() for _ in range(60)]))
        assert verbs(server).count("STARTTLS") > 2
        assert [record.message for record in caplog.records] == ["relay not encrypted"]


def test_ping_does_without_a_handshake_that_fails(tls: Certificates, opened: OpenSmtp) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        server.script.on("handshake", Cut())
        opened(server.url).ping()
        assert server.sessions == 2


@pytest.mark.parametrize(("option", "verdict"), [("opportunistic", Verdict.ACCEPTED), ("starttls", Verdict.ROUTE)])
def test_relay_that_wants_a_certificate_from_us(
    tls: Certificates, opened: OpenSmtp, option: str, verdict: Verdict
) -> None:
    tls.server.verify_mode = ssl.CERT_REQUIRED  # TLS 1.3 tells us after our side of the handshake is over
    with Smtpd(STARTTLS, context=tls.server) as server:
        (outcome,) = send(opened(f"{server.url}?tls={option}", ca_file=tls.ca_file), envelope())[0].outcomes
        assert outcome.verdict is verdict
        assert outcome.verdict is Verdict.ACCEPTED or outcome.phase is Phase.STARTTLS


def test_relay_that_takes_nothing_unencrypted_is_the_routes_trouble(tls: Certificates, opened: OpenSmtp) -> None:
    with Smtpd(Offer(starttls=True, users={"user": "s3cret-pass"}), context=tls.server) as server:
        server.script.on("handshake", Cut())
        (outcome,) = send(opened(server.url), envelope())[0].outcomes
        assert (outcome.verdict, outcome.phase) == (Verdict.ROUTE, Phase.MAIL)
