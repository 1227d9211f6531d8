"""How a connection gets ready for mail, or why it does not."""

import base64
from dataclasses import replace

import pytest

from postroom.mail.outcome import Phase
from postroom.transport.smtp.dialogue import Dialogue
from postroom.transport.smtp.opening import RouteTrouble
from postroom.transport.smtp.relay import Relay, Tls
from tests import sending

PLAIN = sending.relay(host="relay.example", ehlo_name="client.example")
STARTTLS = replace(PLAIN, tls=Tls.STARTTLS)
LOGIN = replace(STARTTLS, username="user", password="s3cret-pass")
EHLO = b"EHLO client.example\r\n"


def opened(relay: Relay, *said: bytes) -> tuple[Dialogue, list[bytes]]:
    """Plays the relay's words, encrypting where it is asked for; returns what was written to each."""
    dialogue = Dialogue(relay)
    dialogue.connected("10.0.0.5")
    written = []
    for words in said:
        written.append(dialogue.receive(words))
        if dialogue.wants_tls:
            written.append(dialogue.secured())
    return dialogue, written


def trouble(dialogue: Dialogue) -> RouteTrouble:
    assert dialogue.broken
    assert dialogue.trouble is not None
    return dialogue.trouble


def test_plain_opening_is_greeting_and_ehlo() -> None:
    dialogue, written = opened(PLAIN, b"220 hello\r\n", b"250 relay.example\r\n")
    assert dialogue.is_open
    assert written == [EHLO, b""]


def test_client_without_a_name_says_its_address() -> None:
    nameless = replace(PLAIN, ehlo_name=None)
    _, written = opened(nameless, b"220 old\r\n", b"502 unknown\r\n", b"250 old\r\n")
    assert written == [b"EHLO [10.0.0.5]\r\n", b"HELO [10.0.0.5]\r\n", b""]


def test_relay_that_does_not_know_ehlo_is_told_helo() -> None:
    dialogue, written = opened(PLAIN, b"220 old\r\n", b"502 unknown\r\n", b"250-old\r\n250 PIPELINING\r\n")
    assert dialogue.is_open
    assert written == [EHLO, b"HELO client.example\r\n", b""]
    assert not dialogue.may_be_followed


def test_relay_without_ehlo_is_trouble_where_tls_is_required() -> None:
    dialogue, _ = opened(STARTTLS, b"220 old\r\n", b"502 unknown\r\n", b"250 old\r\n")
    assert trouble(dialogue).phase is Phase.STARTTLS


def test_starttls_is_followed_by_a_second_ehlo() -> None:
    dialogue, written = opened(
        STARTTLS, b"220 hi\r\n", b"250-r\r\n250 STARTTLS\r\n", b"220 go\r\n", b"250-r\r\n250 PIPELINING\r\n"
    )
    assert dialogue.is_open
    assert written == [EHLO, b"STARTTLS\r\n", b"", EHLO, b""]


def test_starttls_required_but_not_offered_is_trouble() -> None:
    dialogue, _ = opened(STARTTLS, b"220 hi\r\n", b"250-r\r\n250 PIPELINING\r\n")
    assert trouble(dialogue).phase is Phase.STARTTLS


def test_starttls_refused_is_trouble() -> None:
    dialogue, _ = opened(STARTTLS, b"220 hi\r\n", b"250-r\r\n250 STARTTLS\r\n", b"454 4.7.0 no\r\n")
    assert "454" in str(trouble(dialogue))


def test_opportunistic_goes_on_unencrypted_where_it_must() -> None:
    relay = replace(PLAIN, tls=Tls.OPPORTUNISTIC)
    for said in ([b"250 r\r\n"], [b"250-r\r\n250 STARTTLS\r\n", b"454 4.7.0 no\r\n"]):
        dialogue, _ = opened(relay, b"220 hi\r\n", *said)
        assert dialogue.is_open


@pytest.mark.parametrize("more", [b"250-evil\r\n250 PIPELINING\r\n", b"250-evil\r\n250-half a", b"x" * 3000])
def test_what_was_said_before_the_handshake_is_forgotten(more: bytes) -> None:
    injected = b"220 go\r\n" + more
    dialogue, _ = opened(STARTTLS, b"220 hi\r\n", b"250-r\r\n250 STARTTLS\r\n", injected)
    assert not dialogue.is_open  # the injected EHLO reply has not counted
    assert not dialogue.broken
    dialogue.receive(b"250 relay.example\r\n")
    assert dialogue.is_open


def test_features_from_before_the_handshake_do_not_count() -> None:
    dialogue, _ = opened(
        LOGIN, b"220 hi\r\n", b"250-r\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", b"220 go\r\n", b"250 r\r\n"
    )
    assert trouble(dialogue).phase is Phase.AUTH


def test_implicit_tls_encrypts_before_the_greeting() -> None:
    dialogue = Dialogue(replace(PLAIN, tls=Tls.IMPLICIT))
    dialogue.connected("10.0.0.5")
    assert dialogue.wants_tls
    assert dialogue.secured() == b""
    assert dialogue.receive(b"220 hi\r\n") == EHLO


def test_port_that_waits_for_tls_is_told_from_one_that_begins_without() -> None:
    for relay in (PLAIN, STARTTLS):
        dialogue, _ = opened(relay)
        dialogue.lose("no answer from the relay at GREETING within 60 s")
        assert str(trouble(dialogue)).endswith("if this port is TLS from the first byte, as 465 is, write smtps://")
    implicit = Dialogue(replace(PLAIN, tls=Tls.IMPLICIT))
    implicit.connected("10.0.0.5")
    implicit.lose("the TLS handshake failed: wrong version number")
    assert str(trouble(implicit)).endswith("if this port begins without TLS, as 587 and 25 do, write smtp://")


def test_trouble_that_the_scheme_does_not_explain_has_no_hint() -> None:
    implicit = Dialogue(replace(PLAIN, tls=Tls.IMPLICIT))
    implicit.connected("10.0.0.5")
    implicit.lose("the TLS handshake failed: the certificate is not trusted")
    dialogue, _ = opened(PLAIN, b"220 hi\r\n")
    dialogue.lose("the relay closed the connection")
    for one in (implicit, dialogue):
        assert "write smtp" not in str(trouble(one))


def test_auth_plain() -> None:
    dialogue, written = opened(
        LOGIN, b"220 hi\r\n", b"250-r\r\n250 STARTTLS\r\n", b"220 go\r\n", b"250-r\r\n250 AUTH LOGIN PLAIN\r\n"
    )
    assert base64.b64decode(written[-1].split()[2]) == b"\0user\0s3cret-pass"
    dialogue.receive(b"235 2.7.0 welcome\r\n")
    assert dialogue.is_open


def test_password_too_long_for_one_command_is_told_when_asked_for() -> None:
    token = "t" * 8000  # an access token, say
    dialogue, written = opened(
        replace(LOGIN, password=token),
        b"220 hi\r\n",
        b"250-r\r\n250 STARTTLS\r\n",
        b"220 go\r\n",
        b"250-r\r\n250 AUTH LOGIN PLAIN\r\n",
        b"334 \r\n",
        b"235 2.7.0 welcome\r\n",
    )
    assert written[-3] == b"AUTH PLAIN\r\n"
    assert base64.b64decode(written[-2]) == b"\0user\0" + token.encode()
    assert dialogue.is_open


@pytest.mark.parametrize("offer", [b"250 AUTH LOGIN", b"250 AUTH=LOGIN", b"250 auth login"])
def test_auth_login(offer: bytes) -> None:
    dialogue, written = opened(
        LOGIN,
        b"220 hi\r\n",
        b"250-r\r\n250 STARTTLS\r\n",
        b"220 go\r\n",
        b"250-r\r\n" + offer + b"\r\n",
        b"334 VXNlcm5hbWU6\r\n",
        b"334 UGFzc3dvcmQ6\r\n",
        b"235 welcome\r\n",
    )
    assert dialogue.is_open
    assert [base64.b64decode(line) for line in written[-3:-1]] == [b"user", b"s3cret-pass"]


def test_third_challenge_is_trouble() -> None:
    dialogue, _ = opened(
        LOGIN,
        b"220 hi\r\n",
        b"250-r\r\n250 STARTTLS\r\n",
        b"220 go\r\n",
        b"250-r\r\n250 AUTH LOGIN\r\n",
        *[b"334 more\r\n"] * 3,
    )
    assert trouble(dialogue).phase is Phase.AUTH


@pytest.mark.parametrize(
    ("reply", "lasting"), [(b"535 5.7.8 no", True), (b"454 4.7.0 later", False), (b"421 bye", False)]
)
def test_refused_password_is_lasting_trouble_unless_it_is_temporary(reply: bytes, lasting: bool) -> None:
    dialogue, _ = opened(
        LOGIN,
        b"220 hi\r\n",
        b"250-r\r\n250 STARTTLS\r\n",
        b"220 go\r\n",
        b"250-r\r\n250 AUTH PLAIN\r\n",
        reply + b"\r\n",
    )
    assert trouble(dialogue).phase is Phase.AUTH
    assert trouble(dialogue).lasting is lasting


def test_password_is_not_sent_unencrypted_to_another_machine() -> None:
    relay = replace(LOGIN, tls=Tls.OPPORTUNISTIC)
    dialogue, written = opened(relay, b"220 hi\r\n", b"250-r\r\n250 AUTH PLAIN LOGIN\r\n")
    assert trouble(dialogue).lasting
    assert written == [EHLO, b""]


def test_password_may_go_unencrypted_to_this_machine() -> None:
    relay = replace(LOGIN, host="127.0.0.1", tls=Tls.NONE)
    _, written = opened(relay, b"220 hi\r\n", b"250-r\r\n250 AUTH PLAIN\r\n")
    assert written[-1].startswith(b"AUTH PLAIN ")


def test_password_that_the_relay_repeats_is_masked() -> None:
    echo = b"500 5.5.2 What is AUTH PLAIN " + base64.b64encode(b"\0user\0s3cret-pass") + b" s3cret-pass user\r\n"
    dialogue, _ = opened(
        LOGIN, b"220 hi\r\n", b"250-r\r\n250 STARTTLS\r\n", b"220 go\r\n", b"250-r\r\n250 AUTH PLAIN\r\n", echo
    )
    found = trouble(dialogue)
    assert str(found).endswith("What is AUTH PLAIN *** *** ***")
    assert found.reply is not None
    assert "s3cret" not in found.reply.text


@pytest.mark.parametrize(
    "said",
    [
        [b"554 5.7.1 go away\r\n"],
        [b"421 busy\r\n"],
        [b"220 hi\r\n", b"550 not you\r\n"],
        [b"220 hi\r\n", b"502 no EHLO\r\n", b"502 no HELO\r\n"],
    ],
)
def test_relay_that_does_not_let_us_in_is_trouble_that_may_pass(said: list[bytes]) -> None:
    dialogue, _ = opened(PLAIN, *said)
    assert not trouble(dialogue).lasting


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x01\x00\x02\x02\n"]
)
def test_something_else_than_a_mail_server_is_trouble(said: bytes) -> None:
    dialogue, _ = opened(PLAIN, said)
    assert trouble(dialogue).phase is Phase.GREETING


def test_silence_is_trouble_at_the_phase_where_it_fell() -> None:
    dialogue, _ = opened(PLAIN, b"220 hi\r\n")
    dialogue.lose("no answer")
    assert trouble(dialogue).phase is Phase.EHLO


def test_trouble_before_the_connection_stands_is_at_connect() -> None:
    dialogue = Dialogue(PLAIN)
    dialogue.lose("cannot connect: Connection refused")
    assert trouble(dialogue).phase is Phase.CONNECT
