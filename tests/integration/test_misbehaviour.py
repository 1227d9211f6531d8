"""The whole product against a relay that misbehaves: what the API tells afterwards, phase by phase."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines import Engine
from tests.product import Product, running
from tests.smtpd import Accept, Action, Cut, Offer, Phase, Raw, Say, Silence, Smtpd

QUICK = {
    "POSTROOM_RELAY_CONNECT_SECONDS": "1",
    "POSTROOM_RELAY_COMMAND_SECONDS": "1",
    "POSTROOM_RELAY_BODY_SECONDS": "1",
    "POSTROOM_RELAY_DOT_SECONDS": "1",
    "POSTROOM_RETRY_BASE_SECONDS": "0.2",
    "POSTROOM_DOUBT_DELAY_SECONDS": "0.2",
    "POSTROOM_ROUTE_DELAY_SECONDS": "0.2",
}


@pytest.fixture(scope="module")
def server(engine: Engine) -> Iterator[Smtpd]:
    with Smtpd() as running_relay:
        yield running_relay


@pytest.fixture(scope="module")
def product(engine: Engine, server: Smtpd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with running(engine, tmp_path_factory.mktemp("product"), relay=server.url, environ=QUICK) as started:
        yield started


@pytest.fixture
def relay(server: Smtpd) -> Smtpd:
    """The relay as if nothing had ever happened: no script, no connection, no mail."""
    server.script.clear()
    server.hang_up()
    server.received.clear()
    return server


def events(email: dict[str, Any]) -> list[str]:
    return [event["event"] for event in email["timeline"]]


def told(email: dict[str, Any], event: str) -> dict[str, Any]:
    """The detail of the first such event."""
    return dict(next(e["detail"] for e in email["timeline"] if e["event"] == event))


@pytest.mark.parametrize(
    ("phase", "action"),
    [
        ("mail", Say("451 4.3.0 later")),
        ("rcpt", Say("450 4.2.0 later")),
        ("data", Say("451 4.3.0 later")),
        ("dot", Say("452 4.3.1 later")),
        ("mail", Say("421 4.3.2 going away")),
        ("rcpt", Say("421 4.3.2 going away")),
        ("mail", Silence()),
        ("rcpt", Silence()),
        ("data", Silence()),
        ("rcpt", Cut()),
        ("data", Cut()),
        ("mail", Raw(b"what?\r\n")),
        ("data", Raw(b"what?\r\n")),
    ],
    ids=str,
)
def test_trouble_before_the_dot_costs_one_attempt_and_is_retried(
    product: Product, relay: Smtpd, phase: Phase, action: Action
) -> None:
    relay.script.on(phase, action, times=1)
    email = product.wait_for(product.submit(), "sent")
    assert events(email) == ["queued", "attempt", "retrying", "attempt", "sent"]
    assert told(email, "attempt")["transient"] == 1
    assert (email["attempts"], email["possible_duplicate"], len(relay.received)) == (2, False, 1)


@pytest.mark.parametrize(
    "actions", [(Cut(),), (Accept(), Cut()), (Accept(), Silence()), (Accept(), Raw(b"what?\r\n"))], ids=str
)
def test_trouble_after_the_dot_is_flagged_and_sent_again(
    product: Product, relay: Smtpd, actions: tuple[Action, ...]
) -> None:
    relay.script.on("dot", *actions, times=1)
    email = product.wait_for(product.submit(), "sent")
    assert (email["attempts"], email["possible_duplicate"]) == (2, True)
    assert told(email, "attempt")["uncertain"] == 1
    assert len(relay.received) == 1 + (Accept() in actions)


def test_trouble_after_the_dot_is_held_for_who_wants_at_most_once(product: Product, relay: Smtpd) -> None:
    relay.script.on("dot", Accept(), Cut(), times=1)
    email = product.wait_for(product.submit(on_uncertain="hold"), "uncertain")
    assert (email["last_event"], email["next_attempt_at"]) == ("delivery_delayed", None)
    assert len(relay.received) == 1


@pytest.mark.parametrize(
    ("phase", "reply", "status"),
    [
        ("rcpt", "550 5.1.1 no such user", "bounced"),
        ("mail", "550 5.7.1 not you", "failed"),
        ("data", "554 5.6.0 not this", "failed"),
        ("dot", "554 5.6.0 not this", "failed"),
    ],
)
def test_refusal_for_good_ends_it_with_the_relays_words(
    product: Product, relay: Smtpd, phase: Phase, reply: str, status: str
) -> None:
    relay.script.on(phase, Say(reply))
    email = product.wait_for(product.submit(), status)
    code, enhanced, text = reply.split(" ", 2)
    error = email["last_error"]
    assert (str(error["smtp_code"]), error["enhanced_code"], error["permanent"]) == (code, enhanced, True)
    assert text in email["recipients"][0]["message"]
    assert email["attempts"] == 1


def test_each_recipient_has_its_own_fate(product: Product, relay: Smtpd) -> None:
    relay.script.on("rcpt", Say("550 5.1.1 no such user"), only="gone@")
    relay.script.on("rcpt", Say("450 4.2.0 later"), only="later@", times=1)
    email_id = product.submit(to=["ok@example.com", "gone@example.com", "later@example.com"])
    email = product.wait_for(email_id, "sent")
    assert {r["address"].partition("@")[0]: r["status"] for r in email["recipients"]} == {
        "ok": "sent",
        "gone": "bounced",
        "later": "sent",
    }
    assert [m.rcpt_to for m in relay.received] == [("ok@example.com",), ("later@example.com",)]


@pytest.mark.parametrize(
    ("phase", "action"),
    [("connect", Say("421 4.3.2 not now")), ("connect", Cut()), ("ehlo", Silence()), ("ehlo", Say("554 5.3.2 no"))],
    ids=str,
)
def test_relay_that_does_not_serve_costs_no_attempt(
    product: Product, relay: Smtpd, phase: Phase, action: Action
) -> None:
    relay.script.on(phase, action, times=1)
    email = product.wait_for(product.submit(), "sent")
    # The latter where another thread of the process still has a connection, from the email before.
    assert {"relay_unavailable", "handed_back"} & set(events(email))
    assert (email["attempts"], email["possible_duplicate"]) == (1, False), email["timeline"]


def test_relay_that_is_down_for_a_while_costs_no_attempt(product: Product, relay: Smtpd) -> None:
    relay.stop()
    ids = [product.submit() for _ in range(5)]
    for email_id in ids:
        email = product.wait_for(email_id, "queued")
    assert email["attempts"] == 0
    relay.start()
    for email_id in ids:
        assert product.wait_for(email_id, "sent")["attempts"] == 1


@pytest.mark.parametrize(
    ("offer", "options"),
    [(Offer(), "?tls=starttls"), (Offer(users={"u": "right"}), "")],
    ids=["TLS required and not offered", "password refused"],
)
def test_relay_that_refuses_us_keeps_the_email_queued_and_says_why(
    engine: Engine, tmp_path: Path, offer: Offer, options: str
) -> None:
    with Smtpd(offer) as relay:
        login = "u:wrong@" if offer.users else ""
        url = f"smtp://{login}{relay.host}:{relay.port}{options}"
        with running(engine, tmp_path, relay=url, environ=QUICK) as product:
            email_id = product.submit()
            product.wait_until(lambda: "relay_unavailable" in events(product.email(email_id)))
            email = product.email(email_id)
            assert (email["status"] in ("queued", "sending"), email["last_error"]["kind"]) == (True, "route")
            assert "wrong" not in str(email)
            assert relay.received == []
