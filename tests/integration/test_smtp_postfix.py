"""Mail through a real Postfix to a recording next hop: what most users' relays do with what we send."""

import subprocess
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from postroom.mail.outcome import Verdict
from postroom.transport.smtp import SmtpTransport
from postroom.transport.smtp.relay import Tls
from tests import certificates, sending
from tests.sending import Caller, envelope, send, subject, verdicts
from tests.servers.postfix import Postfix, postfix
from tests.smtpd import Smtpd


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def next_hop() -> Iterator[Smtpd]:
    with Smtpd() as running:
        yield running


@pytest.fixture(scope="module")
def relay(next_hop: Smtpd, trusted: certificates.Certificates) -> Iterator[Postfix]:
    with postfix(next_hop.port, key_and_chain=trusted.key_and_chain) as running:
        yield running


@pytest.fixture
def transport(relay: Postfix, trusted: certificates.Certificates) -> Iterator[SmtpTransport]:
    transport = SmtpTransport(sending.relay(relay.port, tls=Tls.STARTTLS, ca_file=trusted.ca_file))
    yield transport
    transport.close()


def arrived(next_hop: Smtpd, ids: set[str]) -> dict[str, bytes]:
    """The data of these emails as soon as all have arrived at the next hop."""
    next_hop.wait_until(lambda: ids <= {subject(m.data) for m in next_hop.received}, f"all of {len(ids)}", seconds=60)
    return {subject(message.data): message.data for message in list(next_hop.received)}


def body(data: bytes) -> bytes:
    """What follows the header, to which Postfix adds."""
    return data.partition(b"\r\n\r\n")[2]


def test_everything_accepted_arrives_exactly_once(transport: SmtpTransport, next_hop: Smtpd) -> None:
    emails = [envelope(size=1000 * (i % 5)) for i in range(120)]
    caller = Caller(transport, *emails)
    assert all(verdicts(hand_off) == [Verdict.ACCEPTED] for hand_off in caller.run().values())
    data = arrived(next_hop, {email.email_id for email in emails})
    assert all(body(data[email.email_id]) == body(email.data) for email in emails)
    subjects = [subject(message.data) for message in next_hop.received]
    assert all(subjects.count(email.email_id) == 1 for email in emails)


def test_refused_recipient_does_not_harm_the_others(transport: SmtpTransport, next_hop: Smtpd) -> None:
    email = envelope("anna@example.com", "nobody@example.net", "berta@example.com")
    (hand_off,) = send(transport, email)
    assert verdicts(hand_off) == [Verdict.ACCEPTED, Verdict.PERMANENT, Verdict.ACCEPTED]
    assert hand_off.outcomes[1].reply is not None
    assert hand_off.outcomes[1].reply.code == 554
    arrived(next_hop, {email.email_id})


def test_refused_emails_do_not_spoil_the_connection(transport: SmtpTransport) -> None:
    emails = [envelope("nobody@example.net") if i % 2 else envelope() for i in range(20)]
    hand_offs = send(transport, *emails)
    wanted = [Verdict.PERMANENT if i % 2 else Verdict.ACCEPTED for i in range(20)]
    assert [verdicts(hand_off)[0] for hand_off in hand_offs] == wanted


def test_emails_after_one_refused_at_the_dot_arrive(transport: SmtpTransport, next_hop: Smtpd) -> None:
    emails = [envelope("fussy@example.net") if i % 3 == 0 else envelope() for i in range(30)]
    hand_offs = send(transport, *emails)
    wanted = [Verdict.REJECTED if i % 3 == 0 else Verdict.ACCEPTED for i in range(30)]
    assert [verdicts(hand_off)[0] for hand_off in hand_offs] == wanted
    arrived(next_hop, {email.email_id for i, email in enumerate(emails) if i % 3})


def test_released_email_never_leaves(transport: SmtpTransport, next_hop: Smtpd) -> None:
    released, sent = envelope(), envelope()
    hand_offs = send(transport, released, sent, fence=lambda ids: {sent.email_id} & set(ids))
    assert [verdicts(hand_off) for hand_off in hand_offs] == [[Verdict.RELEASED], [Verdict.ACCEPTED]]
    assert released.email_id not in arrived(next_hop, {sent.email_id})


def test_dots_at_line_beginnings_arrive_as_they_were(transport: SmtpTransport, next_hop: Smtpd) -> None:
    email = envelope()
    email = replace(email, data=email.data + b".\r\n..\r\n.hidden\r\n\r\n.\r\nMAIL FROM:<evil@example.org>\r\n")
    send(transport, email)
    assert body(arrived(next_hop, {email.email_id})[email.email_id]) == body(email.data)


def test_international_addresses_pass(transport: SmtpTransport, next_hop: Smtpd) -> None:
    email = replace(envelope("jürgen@example.com"), smtputf8=True)
    email = replace(email, data=b"To: " + "jürgen@example.com\r\n".encode() + email.data)
    (hand_off,) = send(transport, email)
    assert verdicts(hand_off) == [Verdict.ACCEPTED]
    arrived(next_hop, {email.email_id})
    (message,) = [message for message in next_hop.received if subject(message.data) == email.email_id]
    assert message.rcpt_to == ("jürgen@example.com",)


def test_message_beyond_its_limit_is_not_sent(transport: SmtpTransport) -> None:
    (hand_off,) = send(transport, envelope(size=11_000_000))
    assert verdicts(hand_off) == [Verdict.REJECTED]
    assert "not sent" in hand_off.outcomes[0].message


def test_restart_between_two_sends_costs_nothing(transport: SmtpTransport, relay: Postfix, next_hop: Smtpd) -> None:
    before, after = envelope(), envelope()
    assert verdicts(send(transport, before)[0]) == [Verdict.ACCEPTED]
    arrived(next_hop, {before.email_id})
    relay.stop()
    relay.start()
    assert verdicts(send(transport, after)[0]) == [Verdict.ACCEPTED]
    arrived(next_hop, {after.email_id})


def test_ping(transport: SmtpTransport) -> None:
    transport.ping()


def test_postfix_that_the_bench_measures_takes_mail_from_smtp_source(next_hop: Smtpd) -> None:
    with postfix(next_hop.port, strict=False) as server:
        words = ["smtp-source", "-m", "1", "-f", "a@example.com", "-t", "b@example.org", "-S", "from the bench"]
        subprocess.run([*words, f"127.0.0.1:{server.port}"], check=True, timeout=30)
        next_hop.wait_until(lambda: any(b"from the bench" in m.data for m in next_hop.received), "it", seconds=30)
