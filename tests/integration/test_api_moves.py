"""Moves by hand: another time, no email at all, one more try."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import CANARY, assert_refused

JSON = {"Content-Type": "application/json"}


def test_scheduled_email_moves_to_another_time(product: Product) -> None:
    email_id = product.submit(scheduled_at="in 1 hour")
    body = {"scheduled_at": "in 3 hours", "id": email_id, "email_id": email_id}
    answer = product.request("PATCH", f"/emails/{email_id}", json=body)
    assert answer.status_code == 200
    assert answer.json() == {"object": "email", "id": email_id}
    moved = datetime.fromisoformat(product.email(email_id)["scheduled_at"])
    assert abs(moved - datetime.now(UTC) - timedelta(hours=3)) < timedelta(seconds=30)


def test_scheduled_email_moved_to_now_is_sent(delivering: Product) -> None:
    email_id = delivering.submit(scheduled_at="in 1 hour")
    answer = delivering.request("PATCH", f"/emails/{email_id}", json={"scheduled_at": "2020-01-01T00:00:00Z"})
    assert answer.status_code == 200
    assert delivering.wait_for(email_id, "sent")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "missing_required_field"),
        ({"scheduled_at": None}, "missing_required_field"),
        ({"scheduled_at": f"{CANARY} o'clock"}, "validation_error"),
        ({"scheduled_at": "in 60 days"}, "validation_error"),
        ({"scheduled_at": 1_800_000_000}, "validation_error"),
        ([], "validation_error"),
    ],
)
def test_new_time_must_be_understood(product: Product, body: object, name: str) -> None:
    email_id = product.submit(scheduled_at="in 1 hour")
    before = product.email(email_id)["scheduled_at"]
    answer = assert_refused(product.request("PATCH", f"/emails/{email_id}", json=body), 422, name)
    assert "scheduled_at" in answer["message"] or body == []
    assert product.email(email_id)["scheduled_at"] == before


def test_only_a_scheduled_email_can_be_moved(product: Product) -> None:
    email_id = product.submit()
    answer = product.request("PATCH", f"/emails/{email_id}", json={"scheduled_at": "in 1 hour"})
    assert_refused(answer, 422, "validation_error")
    assert product.email(email_id)["status"] == "queued"


@pytest.mark.parametrize(
    ("content", "headers"),
    [(b"{}", JSON), (b"", JSON), (b"", {}), (b"not json", JSON)],
    ids=["object", "empty typed", "empty untyped", "ignored"],
)
def test_cancel_needs_no_body(product: Product, content: bytes, headers: dict[str, str]) -> None:
    email_id = product.submit(scheduled_at="in 1 hour")
    answer = product.request("POST", f"/emails/{email_id}/cancel", content=content, headers=headers)
    assert answer.status_code == 200
    assert answer.json() == {"object": "email", "id": email_id}
    found = product.email(email_id)
    assert found["last_event"] == found["status"] == "canceled"


def test_queued_email_can_be_canceled_and_is_never_sent(product: Product) -> None:
    email_id = product.submit()
    assert product.request("POST", f"/emails/{email_id}/cancel").status_code == 200
    assert product.email(email_id)["recipients"][0]["status"] == "canceled"
    assert product.email(email_id)["next_attempt_at"] is None


def test_cancel_of_a_sent_or_canceled_email_changes_nothing(delivering: Product) -> None:
    sent = delivering.submit()
    delivering.wait_for(sent, "sent")
    canceled = delivering.submit(scheduled_at="in 1 hour")
    delivering.request("POST", f"/emails/{canceled}/cancel")
    for email_id, status in ((sent, "sent"), (canceled, "canceled")):
        body = assert_refused(delivering.request("POST", f"/emails/{email_id}/cancel"), 422, "validation_error")
        assert status in body["message"]
        assert delivering.email(email_id)["status"] == status


@pytest.mark.parametrize(("method", "step"), [("PATCH", ""), ("POST", "/cancel"), ("POST", "/retry")])
@pytest.mark.parametrize("email_id", ["abc", "9b2f8f5e-3c1d-4a7e-8f60-0d1c2b3a4e5f"])
def test_unknown_email_is_not_found_before_the_body_is_read(
    product: Product, method: str, step: str, email_id: str
) -> None:
    answer = product.request(method, f"/emails/{email_id}{step}", content=b"not json", headers=JSON)
    assert_refused(answer, 404, "not_found")


def test_canceled_email_can_be_retried_and_is_sent(delivering: Product) -> None:
    email_id = delivering.submit(scheduled_at="in 1 hour")
    delivering.request("POST", f"/emails/{email_id}/cancel")
    answer = delivering.request("POST", f"/emails/{email_id}/retry")
    assert answer.json() == {"object": "email", "id": email_id}
    found = delivering.wait_for(email_id, "sent")
    assert "retried_by_hand" in [line["event"] for line in found["timeline"]]


def test_email_held_in_doubt_is_sent_when_it_is_retried(delivering: Product) -> None:
    email_id = delivering.submit(to="uncertain@example.net", on_uncertain="hold")
    delivering.wait_for(email_id, "uncertain")
    assert delivering.request("POST", f"/emails/{email_id}/retry").status_code == 200
    assert delivering.wait_for(email_id, "sent", "uncertain")["status"] == "sent"
    assert delivering.email(email_id)["possible_duplicate"]


def test_email_that_is_not_failed_cannot_be_retried(product: Product) -> None:
    assert_refused(product.request("POST", f"/emails/{product.submit()}/retry"), 422, "validation_error")


def test_bounced_email_tells_why(delivering: Product) -> None:
    found = delivering.wait_for(delivering.submit(to="bounce@simulated.example"), "bounced", "sent", "failed")
    if found["status"] == "bounced":
        assert found["last_event"] == "bounced"
        assert found["last_error"].keys() == {"kind", "message", "smtp_code", "enhanced_code", "permanent", "at"}


def test_email_expires_when_it_says_so(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, relay="smtp://127.0.0.1:9") as product:  # nobody listens there
        email_id = product.request("POST", "/emails", json=EMAIL | {"expires_at": "in 1 sec"}).json()["id"]
        found = product.wait_for(email_id, "failed")
        assert found["last_error"]["kind"] == "expired"
