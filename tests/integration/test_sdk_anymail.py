"""Django's mail, sent through Anymail's Resend backend, unchanged, against the product."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import django
import pytest
from anymail.exceptions import AnymailAPIError
from anymail.message import AnymailMessage
from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection, send_mail
from django.test import override_settings

from tests.product import Product

BACKEND = "anymail.backends.resend.EmailBackend"

if not settings.configured:
    settings.configure(EMAIL_BACKEND=BACKEND, DEFAULT_FROM_EMAIL="ann@example.com", USE_TZ=True)
    django.setup()


@pytest.fixture(autouse=True)
def service(delivering: Product) -> Iterator[Product]:
    """The product, and Django pointed at it."""
    anymail = {"RESEND_API_URL": delivering.base_url, "RESEND_API_KEY": delivering.key}
    with override_settings(ANYMAIL=anymail):
        yield delivering


def test_send_mail(service: Product) -> None:
    assert send_mail("Hello", "Text", "Ann <ann@example.com>", ["bob@example.net"], html_message="<p>x</p>") == 1
    (found,) = service.request("GET", "/emails", params={"limit": 1}).json()["data"]
    email = service.email(found["id"])
    assert (email["subject"], email["text"], email["html"]) == ("Hello", "Text", "<p>x</p>")


def test_all_features_of_a_message(service: Product) -> None:
    message = AnymailMessage(
        subject="Zoë's",
        body="",
        from_email='"Doe, Jane" <jane@example.com>',
        to=["Zoë <z@example.net>"],
        cc=["c@example.net"],
        bcc=["d@example.net"],
        reply_to=["r@example.com", "s@example.com"],
        headers={"X-Custom": "1"},
        tags=["welcome"],
        metadata={"order": "4711"},
        esp_extra={"tags": [{"name": "kind", "value": "test"}]},
    )
    message.attach_alternative("<p>Hello</p>", "text/html")
    message.attach("a.txt", "text of it", "text/plain")
    message.attach("b.pdf", b"%PDF", "application/pdf")
    message.send()
    (email_id,) = [str(one.message_id) for one in message.anymail_status.recipients.values()][:1]
    email = service.email(email_id)
    assert email["from"] == '"Doe, Jane" <jane@example.com>'
    assert email["to"] == ["Zoë <z@example.net>"]
    assert email["reply_to"] == ["r@example.com", "s@example.com"]
    assert email["text"] == ""
    assert {one["name"] for one in email["headers"]} == {"X-Custom", "X-Tags", "X-Metadata"}
    assert [one["filename"] for one in email["attachments"]] == ["a.txt", "b.pdf"]
    assert email["tags"] == [{"name": "kind", "value": "test"}]


def test_merge_sends_one_email_per_recipient(service: Product) -> None:
    message = AnymailMessage(
        subject="Hello",
        body="Text",
        from_email="ann@example.com",
        to=["b@example.net", "c@example.net"],
        merge_metadata={"b@example.net": {"n": 1}, "c@example.net": {"n": 2}},
    )
    message.send()
    status = message.anymail_status
    assert {name: one.status for name, one in status.recipients.items()} == {
        "b@example.net": "queued",
        "c@example.net": "queued",
    }
    for address, one in status.recipients.items():
        assert service.email(str(one.message_id))["to"] == [address]


def test_send_at_schedules(service: Product) -> None:
    later = datetime.now(UTC) + timedelta(hours=5)
    message = AnymailMessage(subject="s", body="t", from_email="a@example.com", to=["b@example.net"], send_at=later)
    message.send()
    email = service.email(str(message.anymail_status.message_id))
    assert email["status"] == "scheduled"
    assert abs(datetime.fromisoformat(email["scheduled_at"]) - later) < timedelta(seconds=1)


def test_several_messages_over_one_connection(service: Product) -> None:
    messages = [EmailMultiAlternatives(f"s{i}", "t", "a@example.com", ["b@example.net"]) for i in range(3)]
    assert get_connection().send_messages(messages) == 3


def test_refusal_is_an_api_error_with_its_body(service: Product) -> None:
    message = AnymailMessage(subject="s\x01", body="t", from_email="a@example.com", to=["b@example.net"])
    with pytest.raises(AnymailAPIError) as caught:
        message.send()
    assert caught.value.status_code == 422
    assert "validation_error" in str(caught.value)
