"""What a relay URL means, and what is wrong with those that mean nothing."""

import pytest

from postroom.mail.outcome import Phase, Reply
from postroom.transport.smtp.opening import RouteTrouble
from postroom.transport.smtp.relay import Tls, address_literal, full_name
from postroom.transport.smtp.route import Route
from tests import sending
from tests.sending import relay_at


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("smtp://mail.example.com", "mail.example.com", 587, Tls.STARTTLS),
        ("smtp://mail.example.com:25/", "mail.example.com", 25, Tls.STARTTLS),
        ("smtps://mail.example.com", "mail.example.com", 465, Tls.IMPLICIT),
        ("smtp://mail.example.com?tls=opportunistic", "mail.example.com", 587, Tls.OPPORTUNISTIC),
        ("smtp://mail.example.com?tls=none", "mail.example.com", 587, Tls.NONE),
        ("smtp://[2001:db8::1]:2525", "2001:db8::1", 2525, Tls.STARTTLS),
        ("smtp://localhost:1025", "localhost", 1025, Tls.OPPORTUNISTIC),
        ("smtp://127.9.9.9:1025", "127.9.9.9", 1025, Tls.OPPORTUNISTIC),
        ("smtp://[::1]:1025", "::1", 1025, Tls.OPPORTUNISTIC),
        ("smtp://localhost:1025?tls=starttls", "localhost", 1025, Tls.STARTTLS),
        ("smtp://u:p@localhost", "localhost", 587, Tls.STARTTLS),
        ("smtp://128.0.0.1", "128.0.0.1", 587, Tls.STARTTLS),
    ],
)
def test_relay_url(url: str, host: str, port: int, tls: Tls) -> None:
    relay = relay_at(url)
    assert (relay.host, relay.port, relay.tls) == (host, port, tls)


def test_credentials_are_percent_decoded() -> None:
    relay = relay_at("smtp://us%40er:p%2Fa%3As%25s%23@mail.example.com")
    assert (relay.username, relay.password) == ("us@er", "p/a:s%s#")


def test_name_and_repr_never_show_credentials() -> None:
    relay = relay_at("smtps://user:hunter2@mail.example.com")
    assert relay.name == "smtps://mail.example.com:465"
    assert "hunter2" not in repr(relay)


def test_name_of_an_ipv6_relay_is_a_url_again() -> None:
    assert relay_at(relay_at("smtp://[2001:db8::1]:25").name).host == "2001:db8::1"


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com",
        "http://u:hunter2@mail.example.com",
        "smtp://",
        "smtp://u:hunter2@",
        "smtp://u:hunter2@mail.example.com:0",
        "smtp://u:hunter2@mail.example.com:70000",
        "smtp://u:hunter2/x@mail.example.com",
        "smtp://u:hunter2#x@mail.example.com",
        "smtp://u:[hunter2@mail.example.com",
        "smtp://u:hunter2%ff@mail.example.com",
        "smtp://u:hunter2%00@mail.example.com",
        f"smtp://u:{'hunter2' * 1300}@mail.example.com",
        "smtp://u:hunter2\uff20@mail.example.com",
        "smtp://hunter2@mail.example.com",
        "smtp://:hunter2@mail.example.com",
        "smtp://u:hunter2@mail example.com",
        "smtp://u:hunter2@mäil.example.com",
        "smtp://u:hunter2@mail.example.com/path",
        "smtp://u:hunter2@mail.example.com?tls=maybe",
        "smtp://u:hunter2@mail.example.com?tls=none",
        "smtp://u:hunter2@mail.example.com?verify=no",
        "smtps://u:hunter2@mail.example.com?tls=none",
    ],
)
def test_unusable_url_is_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ValueError, match="relay") as caught:
        relay_at(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("smtp://mail.example.com?tls=opportunistic", True),
        ("smtp://localhost", True),
        ("smtp://u:p@localhost?tls=opportunistic", True),
        ("smtp://u:p@mail.example.com?tls=opportunistic", False),
        ("smtp://mail.example.com", False),
        ("smtp://localhost?tls=starttls", False),
        ("smtps://localhost", False),
    ],
)
@pytest.mark.parametrize("reply", [None, Reply(code=421, enhanced=None, text="busy")])
def test_encryption_that_fails_is_left_out_only_where_it_is_opportunistic_and_guards_no_password(
    url: str, may: bool, reply: Reply | None
) -> None:
    route = Route(relay_at(url), None, random=lambda: 0.5)
    trouble = RouteTrouble(Phase.STARTTLS, "the TLS handshake failed", reply=reply)
    assert route.goes_unencrypted(trouble, now=1.0) is (may and reply is None)


@pytest.mark.parametrize("name", ["", "a b", "a\r\nMAIL", "ä.example", "-x", "[127.0.0.1"])
def test_ehlo_name_must_be_a_host_name_or_address_literal(name: str) -> None:
    with pytest.raises(ValueError, match="EHLO name"):
        sending.relay(ehlo_name=name)


@pytest.mark.parametrize("name", ["mail.example.com", "post-1.example.co.uk", "localhost.localdomain"])
def test_full_host_name_greets_the_relay(name: str) -> None:
    assert full_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "3f9a0c1d2e4b", "mail", "my_host.example.com", "10.0.0.5", "a..b", "-a.example", f"{'a.' * 130}example"],
)
def test_host_name_that_is_no_full_one_greets_nobody(name: str) -> None:
    assert full_name(name) is None


@pytest.mark.parametrize(
    ("address", "literal"),
    [
        ("10.0.0.5", "[10.0.0.5]"),
        ("2001:db8::5", "[IPv6:2001:db8::5]"),
        ("fe80::5%eth0", "[IPv6:fe80::5]"),
        ("::ffff:10.0.0.5", "[10.0.0.5]"),
    ],
)
def test_address_literal(address: str, literal: str) -> None:
    assert address_literal(address) == literal


@pytest.mark.parametrize(
    ("url", "verifies"),
    [
        ("smtp://mail.example.com", True),
        ("smtps://localhost", True),
        ("smtp://localhost", False),
        ("smtp://mail.example.com?tls=opportunistic", False),
        ("smtp://u:p@mail.example.com?tls=opportunistic", True),
    ],
)
def test_certificate_is_verified_wherever_it_protects_something(url: str, verifies: bool) -> None:
    assert relay_at(url).verifies_certificate is verifies
