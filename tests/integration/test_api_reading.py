"""GET /emails/{id}, its message and its timeline."""

import email as stdlib_email
import email.policy
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import assert_refused

REQUIRED = frozenset(
    [
        "object",
        "id",
        "message_id",
        "from",
        "to",
        "cc",
        "bcc",
        "reply_to",
        "subject",
        "html",
        "text",
        "created_at",
        "scheduled_at",
        "last_event",
        "tags",
    ]
)
EXTENSIONS = frozenset(
    [
        "status",
        "attempts",
        "max_attempts",
        "last_attempt_at",
        "next_attempt_at",
        "sent_at",
        "last_error",
        "recipients",
        "timeline",
        "idempotency_key",
        "attachments",
        "metadata",
        "possible_duplicate",
    ]
)
IDS = [
    "1",
    "abc",
    "undefined",
    "None",
    "[object Object]",
    "%00",
    "..%2f..",
    "metrics",
    "receiving",
    "batch",
    "9b2f8f5e-3c1d-4a7e-8f60-0d1c2b3a4e5f",
]


def test_accepted_email_has_every_member(product: Product) -> None:
    found = product.email(product.submit(html="<p>Zoë</p>", subject="Zoë"))
    assert found.keys() >= REQUIRED | EXTENSIONS
    assert (found["object"], found["html"], found["subject"]) == ("email", "<p>Zoë</p>", "Zoë")
    assert found["message_id"] == f"<{found['id']}@example.com>"
    assert (found["cc"], found["bcc"], found["reply_to"], found["tags"]) == ([], [], [], [])
    assert (found["status"], found["last_event"], found["attempts"]) == ("queued", "queued", 0)
    assert found["last_error"] is None
    assert found["sent_at"] is None
    assert found["next_attempt_at"]


def test_sent_email_tells_its_story(delivering: Product) -> None:
    found = delivering.wait_for(delivering.submit(to=["b@example.net"], bcc="c@example.net"), "sent")
    assert (found["last_event"], found["attempts"]) == ("sent", 1)
    assert found["sent_at"]
    assert found["next_attempt_at"] is None
    assert [(r["address"], r["kind"], r["status"]) for r in found["recipients"]] == [
        ("b@example.net", "to", "sent"),
        ("c@example.net", "bcc", "sent"),
    ]
    assert found["recipients"][0]["smtp_code"] == 250
    assert [line["event"] for line in found["timeline"]] == ["queued", "attempt", "sent"]


def test_email_can_be_read_at_once_from_another_connection(product: Product) -> None:
    for _ in range(50):
        assert product.request("GET", f"/emails/{product.submit()}").status_code == 200


@pytest.mark.parametrize("step", ["", "/raw", "/events"])
@pytest.mark.parametrize("email_id", IDS)
def test_unknown_id_is_not_found(product: Product, email_id: str, step: str) -> None:
    assert_refused(product.request("GET", f"/emails/{email_id}{step}"), 404, "not_found")


def test_email_of_another_account_is_as_unknown_as_any(product: Product) -> None:
    email_id, other = product.submit(), product.make_key(account="stranger")
    foreign = product.request("GET", f"/emails/{email_id}", key=other)
    unknown = product.request("GET", f"/emails/{uuid4()}", key=other)
    bodies = [assert_refused(answer, 404, "not_found") for answer in (foreign, unknown)]
    assert bodies[0]["message"] == bodies[1]["message"]
    for method, path in (("PATCH", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/raw"), ("GET", "/events")):
        answer = product.request(method, f"/emails/{email_id}{path}", key=other, json={"scheduled_at": "in 1 hour"})
        assert_refused(answer, 404, "not_found")


@pytest.mark.parametrize("headers", [{"Content-Type": "application/json"}, {}], ids=["typed", "untyped"])
@pytest.mark.parametrize("body", [b"", b"{}"], ids=["empty", "object"])
def test_get_may_carry_a_body_and_a_type(product: Product, headers: dict[str, str], body: bytes) -> None:
    answer = product.request("GET", f"/emails/{product.submit()}", content=body, headers=headers)
    assert answer.status_code == 200


def test_raw_is_the_message_that_is_sent(product: Product) -> None:
    email_id = product.submit(
        to="Zoë <z@example.net>", bcc="secret@example.net", headers={"X-One": "1"}, attachments=[{"content": "YWJj"}]
    )
    answer = product.request("GET", f"/emails/{email_id}/raw")
    assert answer.headers["content-type"] == "message/rfc822"
    message = stdlib_email.message_from_bytes(answer.content, policy=email.policy.default)
    assert message["subject"] == EMAIL["subject"]
    assert message["message-id"] == product.email(email_id)["message_id"]
    assert message["x-one"] == "1"
    assert [part.get_content() for part in message.iter_attachments()] == [b"abc"]
    assert b"secret@" not in answer.content


def test_events_are_the_timeline(delivering: Product) -> None:
    email_id = delivering.submit()
    found = delivering.wait_for(email_id, "sent")
    answer = delivering.request("GET", f"/emails/{email_id}/events").json()
    assert answer == {"object": "list", "has_more": False, "data": found["timeline"]}


@pytest.mark.parametrize("path", ["/emails/metrics", "/emails/receiving"])
def test_reserved_words_are_not_ids(product: Product, path: str) -> None:
    assert_refused(product.request("GET", path), 404, "not_found")


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("damage", "path"), [("UPDATE emails SET attempts = 'many'", ""), ("DELETE FROM attachments", "/raw")]
)
def test_email_that_cannot_be_read_is_not_taken_for_an_outage(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str, path: str
) -> None:
    with running(engine, tmp_path, deliver=False) as product:
        email_id = product.submit(attachments=[{"filename": "a.txt", "content": "aGVsbG8="}])
        with closing(sqlite3.connect(engine.store_url(tmp_path).removeprefix("sqlite:///"), timeout=5)) as file, file:
            file.execute(damage)
        body = assert_refused(product.request("GET", f"/emails/{email_id}{path}"), 503, "application_error")
    assert "cannot be read" in body["message"]
    [event] = [record for record in caplog.records if record.getMessage() in ("email unreadable", "store unavailable")]
    assert event.getMessage() == "email unreadable"
    assert email_id in vars(event)["reason"]
