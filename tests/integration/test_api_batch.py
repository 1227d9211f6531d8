"""POST /emails/batch: all or nothing, or in permissive mode what is valid."""

from typing import Any

import httpx
import pytest

from postroom.mail.api_key import FULL_ACCESS
from tests.product import EMAIL, Product
from tests.refusals import CANARY, assert_refused

BAD = EMAIL | {"to": f"{CANARY} no address"}


def post(product: Product, emails: Any, *, key: str | None = None, **headers: str) -> httpx.Response:
    """Submits a batch."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return product.request("POST", "/emails/batch", json=emails, headers=named, key=key)


@pytest.mark.parametrize("headers", [{}, {"x_batch_validation": "strict"}], ids=["default", "said"])
def test_strict_batch_answers_ids_in_order(product: Product, headers: dict[str, str]) -> None:
    subjects = [f"subject {i}" for i in range(5)]
    answer = post(product, [EMAIL | {"subject": s} for s in subjects], **headers)
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"data"}
    assert [product.email(one["id"])["subject"] for one in body["data"]] == subjects
    assert {one["status"] for one in body["data"]} == {"queued"}


def test_strict_batch_with_one_invalid_email_stores_nothing(product: Product) -> None:
    before = product.count()
    body = assert_refused(post(product, [EMAIL, EMAIL, BAD, {}]), 422, "validation_error")
    assert "index 2" in body["message"]
    assert body["details"][0]["member"] == "[2].to[0]"
    assert product.count() == before


def test_strict_batch_tells_of_a_missing_member_by_name(product: Product) -> None:
    body = assert_refused(
        post(product, [EMAIL, {"from": "a@example.com", "to": "b@example.net"}]), 422, "missing_required_field"
    )
    assert "index 1" in body["message"]
    assert "subject" in body["message"]


def test_permissive_batch_stores_what_is_valid(product: Product) -> None:
    before = product.count()
    answer = post(product, [BAD, EMAIL, {}, EMAIL | {"subject": "last"}], x_batch_validation="permissive")
    body = answer.json()
    assert answer.status_code == 200
    assert [error["index"] for error in body["errors"]] == [0, 2]
    assert all(error["message"] for error in body["errors"])
    assert [product.email(one["id"])["subject"] for one in body["data"]] == [EMAIL["subject"], "last"]
    assert product.count() == before + 2
    assert CANARY not in answer.text


@pytest.mark.parametrize(("emails", "errors"), [([EMAIL], 0), ([BAD, BAD], 2)])
def test_permissive_batch_has_both_lists_even_when_empty(product: Product, emails: Any, errors: int) -> None:
    before = product.count()
    body = post(product, emails, x_batch_validation="permissive").json()
    assert (len(body["data"]), len(body["errors"])) == (len(emails) - errors, errors)
    assert product.count() == before + len(body["data"])


@pytest.mark.parametrize(
    "emails",
    [[], [EMAIL] * 101, EMAIL, {}, "text", None, [None], [[]], [7]],
    ids=["empty", "101", "one email", "object", "text", "null", "list of null", "list of list", "list of number"],
)
def test_batch_must_be_a_list_of_1_to_100_emails(product: Product, emails: Any) -> None:
    before = product.count()
    assert_refused(post(product, emails), 422, "validation_error")
    assert product.count() == before


def test_unknown_validation_mode_is_refused(product: Product) -> None:
    assert_refused(post(product, [EMAIL], x_batch_validation=CANARY), 422, "validation_error")


def test_batch_takes_attachments_and_schedules(product: Product) -> None:
    later = EMAIL | {"scheduled_at": "in 1 hour", "attachments": [{"content": "YWJj", "filename": "a.txt"}]}
    (one,) = post(product, [later]).json()["data"]
    email = product.email(one["id"])
    assert email["status"] == "scheduled"
    assert email["attachments"][0]["size"] == 3


def test_long_batch_waits_in_the_bulk_lane_unless_an_email_says_otherwise(product: Product) -> None:
    emails = [EMAIL] * 20 + [EMAIL | {"priority": "urgent"}]
    data = post(product, emails).json()["data"]
    assert product.email(data[0]["id"])["priority"] == "bulk"
    assert product.email(data[20]["id"])["priority"] == "urgent"
    assert product.email(post(product, [EMAIL] * 20).json()["data"][0]["id"])["priority"] == "normal"


def test_batch_of_a_bound_key_names_the_email_with_a_foreign_sender(product: Product) -> None:
    key = product.make_key(scopes=FULL_ACCESS, domains=frozenset({"example.com"}))
    foreign = EMAIL | {"from": "a@example.org"}
    body = assert_refused(post(product, [EMAIL, foreign], key=key), 403, "validation_error")
    assert "index 1" in body["message"]
    permissive = post(product, [EMAIL, foreign], key=key, x_batch_validation="permissive").json()
    assert [error["index"] for error in permissive["errors"]] == [1]
