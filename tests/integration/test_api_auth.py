"""Keys at the door: who is let in, who is not, and that nobody learns why."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from postroom.mail import api_key
from postroom.mail.api_key import SENDING_ACCESS, Scope
from tests.product import EMAIL, Product
from tests.refusals import assert_refused

ID = "01890000-0000-7000-8000-000000000000"
PATHS = [
    ("POST", "/emails"),
    ("POST", "/emails/batch"),
    ("GET", "/emails"),
    ("GET", f"/emails/{ID}"),
    ("PATCH", f"/emails/{ID}"),
    ("POST", f"/emails/{ID}/cancel"),
    ("POST", f"/emails/{ID}/retry"),
    ("GET", f"/emails/{ID}/raw"),
    ("GET", f"/emails/{ID}/events"),
    ("POST", "/api-keys"),
    ("GET", "/api-keys"),
    ("DELETE", "/api-keys/0123456789ab"),
    ("GET", "/nothing/here"),
    ("DELETE", "/emails"),
]


def ask(
    product: Product, authorization: list[str], method: str = "GET", path: str = "/emails", **more: Any
) -> httpx.Response:
    """A request with these `Authorization` headers."""
    headers = [(b"Authorization", value.encode("latin-1")) for value in authorization]
    with httpx.Client(base_url=product.base_url, trust_env=False) as client:
        return client.request(method, path, headers=headers, **more)


@pytest.mark.parametrize(
    "authorization",
    [[], [""], ["Bearer"], ["Bearer "], ["Basic dXNlcjpwYXNz"], ["pr_0123"], ["Bearer a", "Bearer b"]],
    ids=["none", "empty", "no token", "empty token", "basic", "no scheme", "two headers"],
)
def test_missing_key(product: Product, authorization: list[str]) -> None:
    answer = ask(product, [value.rstrip() if value == "Bearer " else value for value in authorization])
    assert_refused(answer, 401, "missing_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_headers_with_a_right_key_are_no_key(product: Product) -> None:
    assert_refused(ask(product, [f"Bearer {product.key}", "Bearer x"]), 401, "missing_api_key")


def test_key_in_the_query_is_no_key(product: Product) -> None:
    assert_refused(ask(product, [], path=f"/emails?api_key={product.key}"), 401, "missing_api_key")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_scheme_is_compared_without_case(product: Product, scheme: str) -> None:
    assert ask(product, [f"{scheme} {product.key}"]).status_code == 200


def expired(product: Product) -> str:
    """A key that has expired."""
    return product.make_key(expires_at=datetime.now(UTC) - timedelta(seconds=1))


def revoked(product: Product) -> str:
    """A key that was revoked."""
    token = product.make_key()
    key_id = api_key.key_id_of(token)
    assert key_id
    product.postroom.store.revoke_key(key_id, now=product.postroom.clock())
    return token


def test_wrong_keys_are_told_apart_by_nothing(product: Product) -> None:
    wrong = [
        "x",
        "re_123456789",
        "ü",
        "a" * 10_000,
        api_key.mint()[1],
        product.key[:-1] + ("0" if product.key[-1] != "0" else "1"),
        product.key.upper(),
        expired(product),
        revoked(product),
    ]
    answers = [ask(product, [f"Bearer {token}"]) for token in wrong]
    bodies = [assert_refused(answer, 403, "invalid_api_key") for answer in answers]
    assert len({body["message"] for body in bodies}) == 1


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("body", [b"not json", b""], ids=["body", "no body"])
def test_key_is_judged_before_anything_else(product: Product, method: str, path: str, body: bytes) -> None:
    assert_refused(ask(product, [], method, path, content=body), 401, "missing_api_key")
    assert_refused(ask(product, ["Bearer x"], method, path, content=body), 403, "invalid_api_key")


@pytest.mark.parametrize(("method", "path"), PATHS[2:-2])
def test_sending_key_may_only_send(product: Product, method: str, path: str) -> None:
    key = product.make_key(scopes=SENDING_ACCESS)
    assert_refused(product.request(method, path, content=b"not json", key=key), 401, "restricted_api_key")


def test_sending_key_may_send(product: Product) -> None:
    key = product.make_key(scopes=SENDING_ACCESS)
    assert product.request("POST", "/emails", json=EMAIL, key=key).status_code == 200
    assert product.request("POST", "/emails/batch", json=[EMAIL], key=key).status_code == 200


def test_reading_key_may_not_send(product: Product) -> None:
    key = product.make_key(scopes=frozenset({Scope.READ}))
    before = product.count()
    assert_refused(product.request("POST", "/emails", json=EMAIL, key=key), 401, "restricted_api_key")
    assert product.count() == before
    assert product.request("GET", "/emails", key=key).status_code == 200


@pytest.mark.parametrize(
    ("sender", "status"),
    [
        ("a@example.com", 200),
        ("A <a@EXAMPLE.com>", 200),
        ("a@example.org", 403),
        ("a@sub.example.com", 403),
        ("a@notexample.com", 403),
    ],
)
def test_bound_key_sends_from_its_domains_only(product: Product, sender: str, status: int) -> None:
    key = product.make_key(domains=frozenset({"example.com"}))
    before = product.count()
    answer = product.request("POST", "/emails", json=EMAIL | {"from": sender}, key=key)
    if status == 200:
        assert answer.status_code == 200
    else:
        body = assert_refused(answer, 403, "validation_error")
        assert body["details"][0]["member"] == "from"
        assert product.count() == before


def test_revoked_key_stops_within_five_seconds_also_when_revoked_elsewhere(product: Product) -> None:
    token = product.make_key()
    assert product.request("GET", "/emails", key=token).status_code == 200
    key_id = api_key.key_id_of(token)
    assert key_id
    product.postroom.store.revoke_key(key_id, now=product.postroom.clock())
    began = time.monotonic()
    while product.request("GET", "/emails", key=token).status_code == 200:
        assert time.monotonic() - began < 6
        time.sleep(0.1)
    assert_refused(product.request("GET", "/emails", key=token), 403, "invalid_api_key")


def test_key_that_expires_stops_on_time(product: Product) -> None:
    token = product.make_key(expires_at=datetime.now(UTC) + timedelta(seconds=1))
    assert product.request("GET", "/emails", key=token).status_code == 200
    began = time.monotonic()
    while product.request("GET", "/emails", key=token).status_code == 200:
        assert time.monotonic() - began < 3
        time.sleep(0.05)
