"""The emails that are hard to get right, through a real Postfix of their own to a recording next hop."""

from collections.abc import Iterator

import pytest

from postroom.mail import mime
from postroom.mail.outcome import Verdict
from postroom.transport.smtp import SmtpTransport
from postroom.transport.smtp.relay import Tls
from tests import certificates, corpus, sending
from tests.sending import send, verdicts
from tests.servers.postfix import postfix
from tests.smtpd import Smtpd

HARD = {**corpus.emails(), **corpus.emails_needing_smtputf8()}


@pytest.fixture(scope="module")
def next_hop() -> Iterator[Smtpd]:
    with Smtpd() as running:
        yield running


@pytest.fixture(scope="module")
def transport(next_hop: Smtpd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpTransport]:
    trusted = certificates.make(tmp_path_factory.mktemp("certificates"))
    with postfix(next_hop.port, key_and_chain=trusted.key_and_chain) as relay:
        transport = SmtpTransport(sending.relay(relay.port, tls=Tls.STARTTLS, ca_file=trusted.ca_file))
        yield transport
        transport.close()


@pytest.mark.parametrize("name", HARD)
def test_hard_email_arrives_as_it_was_written_and_tells_nobody_of_bcc(
    transport: SmtpTransport, next_hop: Smtpd, name: str
) -> None:
    email = HARD[name]
    contents = corpus.contents(email)
    assert set(verdicts(send(transport, mime.envelope(email, contents, return_path=None))[0])) == {Verdict.ACCEPTED}
    named = f"Message-ID: {email.message_id}".encode()
    next_hop.wait_until(lambda: any(named in m.data for m in list(next_hop.received)), "it has arrived", seconds=60)
    received = next(m for m in next_hop.received if named in m.data)
    corpus.same(email, contents, received.data)
    header = received.data.partition(b"\r\n\r\n")[0].lower()
    assert b"\nbcc:" not in header
    shown = {address.addr for address in (*email.to, *email.cc, *email.reply_to, email.sender)}
    hidden = {address.addr for address in email.bcc} - shown
    assert not [address for address in hidden if address.encode() in received.data]
