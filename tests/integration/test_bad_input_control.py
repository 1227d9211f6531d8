"""Members and headers that steer: keys for repetition, times, deadlines, choices. And requests about emails."""

from typing import Any

import pytest

from tests.product import EMAIL, Product
from tests.refusals import CANARY, assert_refused
from tests.wire import Wire, head

NEVER_ISSUED = "9b2f8f5e-3c1d-4a7e-8f60-0d1c2b3a4e5f"


def refused(product: Product, member: str, **members: Any) -> None:
    """Sends an email with these members; it must be refused for that one, and nothing stored."""
    before = product.count()
    found = assert_refused(product.request("POST", "/emails", json=EMAIL | members), 422, "validation_error")
    assert member in [detail["member"] for detail in found["details"]]
    assert product.count() == before


@pytest.mark.parametrize(
    "key", ["", " ", "x" * 257, "cl\xe9", "a\tb", "\x7f"], ids=["empty", "blank", "257", "non-ASCII", "tab", "delete"]
)
@pytest.mark.parametrize("path", ["/emails", "/emails/batch"])
def test_row_71_idempotency_keys(product: Product, key: str, path: str) -> None:
    before = product.count()
    with Wire(product.port) as wire:
        lines = head(product, f"Idempotency-Key: {key}", "Content-Length: 2", path=path)
        wire.send(lines.decode().encode("latin-1") + b"{}")
        answer = wire.read_answer()
        assert answer.status == 400
        assert answer.json()["name"] in ("invalid_idempotency_key", "validation_error")
    assert product.count() == before


def test_row_71_two_idempotency_keys(product: Product) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b"), ("Authorization", f"Bearer {product.key}")]
    with product.client(key="") as client:
        assert_refused(client.post("/emails", json=EMAIL, headers=headers), 400, "invalid_idempotency_key")


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        "",
        "tomorrow",
        "9999-12-31T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2030-02-30T00:00:00Z",
        "2030-01-01",
        "in 31 days",
        "in 5 fortnights",
        "in -5 minutes",
        "1800000000000",
        "2030-01-01T00:00:00+99:00",
        "x" * 100_000,
    ],
)
def test_row_73_times_that_are_not_understood(product: Product, text: str) -> None:
    refused(product, "scheduled_at", scheduled_at=text)


@pytest.mark.parametrize(
    "members",
    [
        {"expires_at": "in 1 hour", "scheduled_at": "in 2 hours"},
        {"expires_at": "in 1 hour", "scheduled_at": "in 1 hour"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "in -1 hours"},
        {"expires_at": "in 10000 days"},
        {"expires_at": ""},
        {"expires_at": CANARY},
    ],
)
def test_row_74_deadlines(product: Product, members: dict[str, str]) -> None:
    refused(product, "expires_at", **members)


@pytest.mark.parametrize("value", ["maybe", CANARY, "", "RESEND", True])
def test_row_76_choices(product: Product, value: Any) -> None:
    refused(product, "on_uncertain", on_uncertain=value)
    refused(product, "priority", priority=value)


def test_row_76_routes_cannot_be_chosen_by_a_request(product: Product) -> None:
    assert product.email(product.submit(transport="smtp://evil.example", webhook_url="https://evil.example"))


@pytest.mark.parametrize(
    "email_id", ["1", "abc", "undefined", "None", "[object Object]", "9b2f8f5e-3c1d-4a7e-8f60-0d1c2b3a4e5f", "0" * 36]
)
@pytest.mark.parametrize("step", ["cancel", "retry"])
def test_rows_87_and_95_unknown_ids(product: Product, email_id: str, step: str) -> None:
    assert_refused(product.request("POST", f"/emails/{email_id}/{step}"), 404, "not_found")


def test_row_91_id_is_known_right_after_its_answer(product: Product) -> None:
    with product.client() as submitting, product.client() as reading:
        for _ in range(300):
            email_id = submitting.post("/emails", json=EMAIL).json()["id"]
            assert reading.get(f"/emails/{email_id}").status_code == 200
