"""POST /emails: what is accepted, in every spelling that existing clients use, and what is answered."""

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.product import EMAIL, Product
from tests.refusals import assert_refused


def stored(product: Product, **members: Any) -> dict[str, Any]:
    """Submits an email with these members and returns what the API then tells of it."""
    return product.email(product.submit(**members))


def test_answer_has_id_status_and_times(product: Product) -> None:
    answer = product.request("POST", "/emails", json=EMAIL)
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert body["object"] == "email"
    assert str(UUID(body["id"])) == body["id"]
    assert body["status"] == "queued"
    assert body["scheduled_at"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?Z", body["created_at"])
    assert not {"statusCode", "error", "http_headers"} & body.keys()


@pytest.mark.parametrize(
    ("member", "value", "expected"),
    [
        ("to", "b@example.net", ["b@example.net"]),
        ("to", ["B <b@example.net>", "c@example.net"], ["B <b@example.net>", "c@example.net"]),
        ("cc", None, []),
        ("cc", [], []),
        ("cc", "c@example.net", ["c@example.net"]),
        ("bcc", ["d@example.net"], ["d@example.net"]),
        ("reply_to", "r@example.net", ["r@example.net"]),
        ("reply_to", ["r@example.net", "s@example.net"], ["r@example.net", "s@example.net"]),
    ],
)
def test_addresses_come_as_text_or_list(product: Product, member: str, value: Any, expected: list[str]) -> None:
    assert stored(product, **{member: value})[member] == expected


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("a@example.com", "a@example.com"),
        ("Zoë <z@example.com>", "Zoë <z@example.com>"),
        ('"Doe, Jane" <j@example.com>', '"Doe, Jane" <j@example.com>'),
        ("=?utf-8?q?Zo=C3=AB?= <z@example.com>", "Zoë <z@example.com>"),
        ("z@EXÄMPLE.com", "z@xn--exmple-cua.com"),
    ],
)
def test_display_names_are_decoded_and_given_back(product: Product, sender: str, expected: str) -> None:
    assert stored(product, sender=sender)["from"] == expected


def test_members_that_nobody_knows_are_ignored(product: Product) -> None:
    stored(product, id="x", email_id="y", too=["b@example.net"], transport="smtp://evil", esp_extra={"a": [1]})


def test_members_that_are_null_or_empty_are_absent(product: Product) -> None:
    empty: list[Any] = []
    email = stored(product, html=None, cc=empty, tags=empty, attachments=empty, headers=empty, metadata=None)
    nothing = stored(
        product,
        headers=None,
        attachments=None,
        tags=None,
        scheduled_at=None,
        template=None,
        topic_id=None,
        priority=None,
    )
    assert email["html"] is None
    assert nothing["tags"] == email["tags"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-One": "1", "X-Two": "true"},
        {"X-One": 1, "X-Two": True, "X-None": None},
        [{"name": "X-One", "value": "1"}, {"name": "X-Two", "value": "true"}],
    ],
    ids=["object", "object with other types", "list"],
)
def test_headers_come_in_three_spellings(product: Product, headers: Any) -> None:
    expected = [{"name": "X-One", "value": "1"}, {"name": "X-Two", "value": "true"}]
    assert stored(product, headers=headers)["headers"] == expected


def test_headers_that_postroom_writes_are_ignored(product: Product) -> None:
    reserved = [
        "From",
        "To",
        "Bcc",
        "Subject",
        "Message-ID",
        "Date",
        "Content-Type",
        "MIME-Version",
        "Received",
        "Sender",
    ]
    assert stored(product, headers=dict.fromkeys(reserved, "x@example.com"))["headers"] == []


def test_tags_come_in_two_spellings(product: Product) -> None:
    tags = [{"name": "kind", "value": "welcome"}, {"campaign": "spring-2026"}]
    expected = [{"name": "kind", "value": "welcome"}, {"name": "campaign", "value": "spring-2026"}]
    assert stored(product, tags=tags)["tags"] == expected


@pytest.mark.parametrize(
    ("attachment", "expected"),
    [
        ({"content": base64.b64encode(b"abc").decode(), "filename": "a.pdf"}, ("a.pdf", "application/pdf", None, 3)),
        ({"content": "YW\r\nJj\n", "filename": "a.txt"}, ("a.txt", "text/plain", None, 3)),
        (
            {"content": {"type": "Buffer", "data": [97, 98, 99]}, "filename": "a.pdf"},
            ("a.pdf", "application/pdf", None, 3),
        ),
        ({"content": [0, 255, 10], "filename": False}, (None, "application/octet-stream", None, 3)),
        ({"content": "YWJj", "contentType": "image/png", "content_id": "logo"}, (None, "image/png", "logo", 3)),
        (
            {"content": "YWJj", "filename": "ä.bin", "inline_content_id": "a@b.c"},
            ("ä.bin", "application/octet-stream", "a@b.c", 3),
        ),
        (
            {"content": "BEGIN:VCALENDAR", "content_type": "text/calendar"},
            (None, "text/calendar; charset=utf-8", None, 15),
        ),
        (
            {"content": "YWJj", "content_type": 'text/plain; charset="utf-8"'},
            (None, 'text/plain; charset="utf-8"', None, 3),
        ),
    ],
)
def test_attachments_as_clients_send_them(product: Product, attachment: Any, expected: tuple[Any, ...]) -> None:
    (found,) = stored(product, attachments=[attachment])["attachments"]
    assert (found["filename"], found["content_type"], found["content_id"], found["size"]) == expected
    assert found["content_disposition"] == ("inline" if expected[2] else "attachment")


def test_attachment_from_an_address_is_refused_clearly(product: Product) -> None:
    for more in ({}, {"content": "YWJj"}):
        attachment = {"path": "https://example.com/a.pdf", **more}
        answer = product.request("POST", "/emails", json=EMAIL | {"attachments": [attachment]})
        body = assert_refused(answer, 422, "invalid_attachment")
        assert "attachments[0].path" in body["message"]


def test_empty_text_counts_as_present(product: Product) -> None:
    assert stored(product, text="")["text"] == ""
    assert stored(product, text="", html="<p>x</p>")["text"] == ""


@pytest.mark.parametrize("when", ["phrase", "offset"])
def test_scheduled_email_tells_its_resolved_time(product: Product, when: str) -> None:
    due = datetime.now(UTC) + timedelta(hours=2)
    text = due.astimezone().isoformat() if when == "offset" else "in 2 hours"
    email = stored(product, scheduled_at=text)
    assert email["status"] == email["last_event"] == "scheduled"
    assert abs(datetime.fromisoformat(email["scheduled_at"]) - due) < timedelta(seconds=30)


def test_time_in_the_past_means_now(product: Product) -> None:
    assert stored(product, scheduled_at="2020-01-01T00:00:00Z")["status"] == "queued"


def test_extensions_are_kept(product: Product) -> None:
    email = stored(
        product,
        metadata={"order": 4711, "nested": {"a": [1.5, None, True]}},
        priority="urgent",
        max_attempts=3,
        on_uncertain="hold",
        expires_at="in 2 hours",
    )
    assert email["metadata"] == {"order": 4711, "nested": {"a": [1.5, None, True]}}
    assert (email["priority"], email["max_attempts"], email["on_uncertain"]) == ("urgent", 3, "hold")
    assert datetime.fromisoformat(email["expires_at"]) < datetime.now(UTC) + timedelta(hours=2, seconds=5)


def test_async_answer_for_those_who_ask(product: Product) -> None:
    answer = product.request("POST", "/emails", json=EMAIL, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.headers["location"] == f"/emails/{answer.json()['id']}"


def test_path_with_several_slashes_is_the_same_path(product: Product) -> None:
    with product.client() as client:
        answer = client.post(f"{product.base_url}///emails", json=EMAIL)
    assert answer.status_code == 200


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/vnd.api+json", ""])
def test_json_content_types_are_accepted(product: Product, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    body = b'{"from": "a@example.com", "to": "b@example.net", "subject": "s", "text": "t"}'
    assert product.request("POST", "/emails", content=body, headers=headers).status_code == 200
