"""Encryption and authentication towards the relay, against the scripted server and against aiosmtpd."""

import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from postroom.mail import mime
from postroom.mail.outcome import Outcome, Phase, Verdict
from postroom.transport.smtp import SmtpTransport
from postroom.transport.smtp.wire import tls_context
from tests import certificates, corpus
from tests.certificates import Certificates
from tests.sending import QUICK, envelope, relay_at, send, subject, transports, verdicts
from tests.servers import free_port
from tests.smtpd import BROKEN_HANDSHAKES, Accept, Action, Cut, Offer, Say, Smtpd

STARTTLS = Offer(starttls=True)
IMPLICIT = Offer(implicit_tls=True)
LOGIN = Offer(starttls=True, users={"user": "s3cret-pass"})

Open = Callable[..., SmtpTransport]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def opened(tls: Certificates) -> Iterator[Open]:
    """Makes transports that trust our authority, or with `ca_file=None` the system's."""
    with transports() as make:
        yield lambda url, **options: make(url, **{"ca_file": tls.ca_file, **options})


def url(server: Smtpd, *, tls: str = "starttls", user: str = "", host: str = "127.0.0.1") -> str:
    """The server's URL with an explicit option and credentials."""
    at = f"{user}@" if user else ""
    if server.offer.implicit_tls:
        return f"smtps://{at}{host}:{server.port}"
    return f"smtp://{at}{host}:{server.port}?tls={tls}"


def outcome_of(transport: SmtpTransport) -> Outcome:
    ((outcome,),) = (hand_off.outcomes for hand_off in send(transport, envelope()))
    return outcome


# -- encryption --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offer", [STARTTLS, IMPLICIT], ids=["starttls", "implicit"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_mail_goes_out_over_a_verified_connection(tls: Certificates, opened: Open, offer: Offer, host: str) -> None:
    with Smtpd(offer, context=tls.server) as server:
        transport = opened(url(server, host=host))
        emails = [envelope(size=200_000) for _ in range(8)]
        assert all(verdicts(hand_off) == [Verdict.ACCEPTED] for hand_off in send(transport, *emails))
        assert verdicts(send(transport, envelope())[0]) == [Verdict.ACCEPTED]
        transport.ping()
        received = {subject(message.data): message.data for message in server.wait_for(9)}
        assert all(received[email.email_id] == email.data for email in emails)
        assert server.violations == []


def test_ehlo_is_said_again_after_starttls(tls: Certificates, opened: Open) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        assert outcome_of(opened(url(server))).verdict is Verdict.ACCEPTED
        verbs = [line.partition(" ")[0] for _, line in server.commands]
        assert verbs[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]


def test_encrypted_replies_in_single_bytes_are_understood(tls: Certificates, opened: Open) -> None:
    with Smtpd(STARTTLS, context=tls.server, drip=True) as server:
        assert outcome_of(opened(url(server))).verdict is Verdict.ACCEPTED


def test_starttls_that_is_required_but_not_offered_is_the_routes_trouble(opened: Open) -> None:
    with Smtpd() as server:
        outcome = outcome_of(opened(url(server)))
        assert (outcome.verdict, outcome.phase) == (Verdict.ROUTE, Phase.STARTTLS)
        assert not server.has_heard("MAIL")


@pytest.mark.parametrize("offer", [STARTTLS, IMPLICIT], ids=["starttls", "implicit"])
@pytest.mark.parametrize("fault", ["unknown authority", "other name"])
def test_certificate_that_proves_nothing_is_the_routes_trouble(
    tls: Certificates, opened: Open, offer: Offer, fault: str
) -> None:
    context = tls.other_name if fault == "other name" else tls.server
    with Smtpd(offer, context=context) as server:
        transport = opened(url(server), ca_file=None if fault == "unknown authority" else tls.ca_file)
        outcome = outcome_of(transport)
        assert (outcome.verdict, outcome.phase) == (Verdict.ROUTE, Phase.STARTTLS)
        assert "certificate is not trusted" in outcome.message
        assert not server.has_heard("MAIL")
        with pytest.raises(ConnectionError, match="certificate is not trusted"):
            transport.ping()


@pytest.mark.parametrize("offer", [STARTTLS, IMPLICIT], ids=["starttls", "implicit"])
@pytest.mark.parametrize("actions", BROKEN_HANDSHAKES.values(), ids=BROKEN_HANDSHAKES)
def test_handshake_that_fails_is_the_routes_trouble(
    tls: Certificates, opened: Open, offer: Offer, actions: tuple[Action, ...]
) -> None:
    with Smtpd(offer, context=tls.server) as server:
        server.script.on("handshake", *actions)
        outcome = outcome_of(opened(url(server), timeouts=QUICK))
        assert (outcome.verdict, outcome.phase) == (Verdict.ROUTE, Phase.STARTTLS)
        assert not server.has_heard("MAIL")


def test_encryption_where_none_is_spoken_is_the_routes_trouble(tls: Certificates, opened: Open) -> None:
    with Smtpd() as plain:
        assert outcome_of(opened(f"smtps://127.0.0.1:{plain.port}")).verdict is Verdict.ROUTE
    with Smtpd(IMPLICIT, context=tls.server) as encrypted:
        plain_url = f"smtp://127.0.0.1:{encrypted.port}"
        assert outcome_of(opened(plain_url, timeouts=QUICK)).verdict is Verdict.ROUTE


def test_reply_injected_before_the_handshake_is_ignored(tls: Certificates, opened: Open) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        server.script.on("starttls", Say("220 2.0.0 Go ahead\r\n250-injected\r\n250 SIZE 1"), times=1)
        assert outcome_of(opened(url(server))).verdict is Verdict.ACCEPTED
        assert server.violations == []


def test_link_cut_after_the_encrypted_dot_is_uncertain(tls: Certificates, opened: Open) -> None:
    with Smtpd(STARTTLS, context=tls.server) as server:
        server.script.on("dot", Accept(), Cut())
        assert outcome_of(opened(url(server))).verdict is Verdict.UNCERTAIN


def test_link_cut_in_the_encrypted_body_is_transient(tls: Certificates, opened: Open) -> None:
    with Smtpd(replace(STARTTLS, size=None), context=tls.server) as server:
        server.script.on("body", Cut())
        (hand_off,) = send(opened(url(server)), envelope(size=16_000_000))
        assert verdicts(hand_off) == [Verdict.TRANSIENT]
        assert server.received == []


def test_old_protocols_are_refused_and_a_missing_authority_file_is_said_at_once(tmp_path: Path) -> None:
    relay = relay_at("smtp://mail.example.com")
    context = tls_context(relay)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    with pytest.raises(ValueError, match="trusted authorities"):
        SmtpTransport(replace(relay, ca_file=str(tmp_path / "missing.pem")))


# -- authentication ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanisms", [("PLAIN",), ("LOGIN",), ("CRAM-MD5", "LOGIN", "PLAIN")])
def test_authentication_over_tls(tls: Certificates, opened: Open, mechanisms: tuple[str, ...]) -> None:
    with Smtpd(replace(LOGIN, mechanisms=mechanisms), context=tls.server) as server:
        transport = opened(url(server, user="user:s3cret-pass"))
        assert outcome_of(transport).verdict is Verdict.ACCEPTED
        assert "s3cret" not in transport.relay


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_refused_password_opens_the_breaker_at_once_and_stays_secret(
    tls: Certificates, opened: Open, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Smtpd(replace(LOGIN, mechanisms=(mechanism,)), context=tls.server) as server:
        transport = opened(url(server, user="user:wrong-hunter2"))
        hand_offs = send(transport, *[envelope() for _ in range(4)])
        outcomes = [outcome for hand_off in hand_offs for outcome in hand_off.outcomes]
        assert {(outcome.verdict, outcome.phase) for outcome in outcomes} == {(Verdict.ROUTE, Phase.AUTH)}
        assert {outcome.reply and outcome.reply.code for outcome in outcomes} == {535}
        assert transport.resting() > 0
        assert server.sessions == 1
        with pytest.raises(ConnectionError, match="535"):
            transport.ping()
        shown = caplog.text + "".join(str(vars(record)) for record in caplog.records) + repr(outcomes)
        assert "hunter2" not in shown


def test_temporary_refusal_to_authenticate_does_not_open_the_breaker(tls: Certificates, opened: Open) -> None:
    with Smtpd(LOGIN, context=tls.server) as server:
        server.script.on("auth", Say("454 4.7.0 Temporary authentication failure"), times=1)
        transport = opened(url(server, user="user:s3cret-pass"))
        assert outcome_of(transport).verdict is Verdict.ROUTE
        assert transport.resting() == 0
        assert outcome_of(transport).verdict is Verdict.ACCEPTED


def test_relay_without_a_mechanism_that_we_have_is_the_routes_trouble(tls: Certificates, opened: Open) -> None:
    with Smtpd(replace(LOGIN, mechanisms=("GSSAPI",)), context=tls.server) as server:
        transport = opened(url(server, user="user:s3cret-pass"))
        assert outcome_of(transport).phase is Phase.AUTH
        assert transport.resting() > 0


# -- a real server -----------------------------------------------------------------------------------------------------


class Keeper:
    """An aiosmtpd handler that keeps what it is handed."""

    def __init__(self) -> None:
        self.kept: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.kept.append(envelope)
        return "250 2.0.0 Kept"


@contextmanager
def aiosmtpd(context: ssl.SSLContext) -> Iterator[tuple[int, Keeper]]:
    """aiosmtpd with STARTTLS and AUTH required, on a free port."""

    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword) -> AuthResult:
        right = (data.login, data.password) == (b"user", b"s3cret-pass")
        return AuthResult(success=right, handled=right)

    keeper = Keeper()
    controller = Controller(
        keeper,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=check,
        enable_SMTPUTF8=True,
    )
    controller.start()
    try:
        yield controller.port, keeper
    finally:
        controller.stop()


def test_aiosmtpd_takes_everything_over_starttls_with_authentication(tls: Certificates, opened: Open) -> None:
    with aiosmtpd(tls.server) as (port, keeper):
        transport = opened(f"smtp://user:s3cret-pass@127.0.0.1:{port}")
        emails = [envelope(f"r{i}@example.com", "bcc@example.net") for i in range(40)]
        assert all(set(verdicts(hand_off)) == {Verdict.ACCEPTED} for hand_off in send(transport, *emails))
        transport.close()
        assert sorted(subject(kept.original_content or b"") for kept in keeper.kept) == sorted(
            email.email_id for email in emails
        )


def test_aiosmtpd_refuses_a_wrong_password(tls: Certificates, opened: Open) -> None:
    with aiosmtpd(tls.server) as (port, keeper):
        outcome = outcome_of(opened(f"smtp://user:wrong@127.0.0.1:{port}"))
        assert (outcome.verdict, outcome.phase) == (Verdict.ROUTE, Phase.AUTH)
        assert keeper.kept == []


def test_hard_emails_arrive_at_aiosmtpd_as_they_were_written(tls: Certificates, opened: Open) -> None:
    emails = {email.message_id: email for email in corpus.emails().values()}
    with aiosmtpd(tls.server) as (port, keeper):
        transport = opened(f"smtp://user:s3cret-pass@127.0.0.1:{port}")
        send(transport, *(mime.envelope(e, corpus.contents(e), return_path=None) for e in emails.values()))
        transport.close()
        received = {_message_id(kept.original_content or b""): kept.original_content or b"" for kept in keeper.kept}
    assert received.keys() == emails.keys()
    for message_id, email in emails.items():
        corpus.same(email, corpus.contents(email), received[message_id])


def _message_id(data: bytes) -> str:
    return str(message_from_bytes(data)["Message-ID"])
