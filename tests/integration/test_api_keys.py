"""/api-keys: made, listed, revoked, and never more powerful than the key that asks."""

import uuid
from typing import Any

import pytest

from postroom import keyring
from postroom.mail.api_key import FULL_ACCESS
from tests.product import EMAIL, Product
from tests.refusals import CANARY, assert_refused

OLD = "pr_79a7c494b014_17fe7ebaf62d44d9bc5f78bc8c5eef1004f263d180c19446181bfc5952c4b271_051b78a1"


def make(product: Product, *, key: str | None = None, **members: Any) -> dict[str, Any]:
    """Makes a key over the API."""
    answer = product.request("POST", "/api-keys", json={"name": "shop", **members}, key=key)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_new_key_works_and_is_shown_once(product: Product) -> None:
    made = make(product, domain_id=None, unknown=1)
    assert product.request("GET", "/emails", key=made["token"]).status_code == 200
    listed = product.request("GET", "/api-keys")
    body = listed.json()
    assert (body["object"], body["has_more"]) == ("list", False)
    (found,) = [one for one in body["data"] if one["id"] == made["id"]]
    assert (found["name"], found["permission"], found["domains"]) == ("shop", "full_access", [])
    assert made["token"] not in listed.text
    assert "token" not in found


def test_sending_key_with_domains_and_an_end(product: Product) -> None:
    made = make(product, permission="sending_access", domains=["EXAMPLE.com"], expires_at="in 2 days")
    assert (made["permission"], made["domains"]) == ("sending_access", ["example.com"])
    assert made["expires_at"]
    assert product.request("POST", "/emails", json=EMAIL, key=made["token"]).status_code == 200
    assert_refused(product.request("GET", "/emails", key=made["token"]), 401, "restricted_api_key")


def test_revoked_key_stops_at_once(product: Product) -> None:
    made = make(product)
    assert product.request("GET", "/emails", key=made["token"]).status_code == 200
    answer = product.request("DELETE", f"/api-keys/{made['id']}", content=b"{}")
    assert answer.status_code == 200
    assert answer.json() == {"object": "api_key", "id": made["id"], "deleted": True}
    assert_refused(product.request("GET", "/emails", key=made["token"]), 403, "invalid_api_key")


def test_revoked_key_is_listed_only_if_asked_for(product: Product) -> None:
    made, kept = make(product), make(product)
    assert product.request("DELETE", f"/api-keys/{made['id']}").status_code == 200

    def listed(query: str) -> dict[str, Any]:
        answer = product.request("GET", f"/api-keys{query}")
        assert answer.status_code == 200, answer.text
        return {one["id"]: one["revoked_at"] for one in answer.json()["data"]}

    for query in ("", "?revoked=false", "?limit=100&after=x"):  # clients also send parameters of pages
        assert made["id"] not in listed(query)
        assert listed(query)[kept["id"]] is None
    assert listed("?revoked=true")[made["id"]] is not None
    assert kept["id"] in listed("?revoked=true")


@pytest.mark.parametrize("written", ["", "yes", "1", CANARY, "%ff%fe"])
def test_what_is_said_of_revoked_keys_must_be_true_or_false(product: Product, written: str) -> None:
    assert_refused(product.request("GET", f"/api-keys?revoked={written}"), 422, "invalid_parameter")


def test_id_of_a_key_is_a_uuid_in_any_letter_case(product: Product) -> None:
    made = make(product)
    assert str(uuid.UUID(made["id"])) == made["id"]
    assert product.request("DELETE", f"/api-keys/{made['id'].upper()}").json()["id"] == made["id"]
    assert_refused(product.request("GET", "/emails", key=made["token"]), 403, "invalid_api_key")


def test_key_from_before_ids_were_uuids_works_and_can_be_revoked(product: Product) -> None:
    assert keyring.add(OLD, "old", store=product.postroom.store)
    assert product.request("GET", "/emails", key=OLD).status_code == 200
    assert "79a7c494b014" in [one["id"] for one in product.request("GET", "/api-keys").json()["data"]]
    assert product.request("DELETE", "/api-keys/79a7c494b014").status_code == 200
    assert_refused(product.request("GET", "/emails", key=OLD), 403, "invalid_api_key")


@pytest.mark.parametrize("key_id", ["0123456789ab", "00000000-0000-4000-8000-000000000000", "-" * 36, "nothing", "%00"])
def test_unknown_key_is_not_found(product: Product, key_id: str) -> None:
    assert_refused(product.request("DELETE", f"/api-keys/{key_id}"), 404, "not_found")


def test_keys_of_another_account_do_not_exist(product: Product) -> None:
    stranger = product.make_key(account="stranger")
    made = make(product)
    assert_refused(product.request("DELETE", f"/api-keys/{made['id']}", key=stranger), 404, "not_found")
    listed = product.request("GET", "/api-keys", key=stranger).json()["data"]
    assert made["id"] not in [one["id"] for one in listed]
    assert product.request("GET", "/emails", key=made["token"]).status_code == 200


def test_key_that_expires_makes_none_that_lasts_longer(product: Product) -> None:
    short = make(product, expires_at="in 1 hour")
    for wish in ({}, {"expires_at": "in 2 days"}):
        assert make(product, key=short["token"], **wish)["expires_at"] == short["expires_at"]
    assert make(product, key=short["token"], expires_at="in 5 minutes")["expires_at"] < short["expires_at"]


def test_bound_key_revokes_only_keys_that_are_bound_as_it_is(product: Product) -> None:
    bound = product.make_key(scopes=FULL_ACCESS, domains=frozenset({"example.com", "example.org"}))
    for domains in ([], ["example.com", "example.net"]):
        other = make(product, domains=domains)
        assert_refused(product.request("DELETE", f"/api-keys/{other['id']}", key=bound), 403, "validation_error")
        assert product.request("GET", "/api-keys", key=other["token"]).status_code == 200
    below = make(product, domains=["example.org"])
    assert product.request("DELETE", f"/api-keys/{below['id']}", key=bound).status_code == 200


@pytest.mark.parametrize(("method", "step"), [("POST", "/cancel"), ("POST", "/retry"), ("PATCH", "")])
def test_bound_key_changes_only_emails_from_its_domains(product: Product, method: str, step: str) -> None:
    bound = product.make_key(scopes=FULL_ACCESS, domains=frozenset({"example.org"}))
    own, other = (
        product.submit(sender=f"ann@{domain}", scheduled_at="in 1 hour") for domain in ("example.org", "example.com")
    )
    if step == "/retry":
        for email_id in (own, other):
            assert product.request("POST", f"/emails/{email_id}/cancel").status_code == 200
    body = {"scheduled_at": "in 2 hours"} if method == "PATCH" else None
    before = product.email(other)
    assert_refused(product.request(method, f"/emails/{other}{step}", key=bound, json=body), 403, "validation_error")
    assert product.email(other) == before
    assert product.request(method, f"/emails/{own}{step}", key=bound, json=body).status_code == 200


def test_bound_key_gives_away_no_more_than_it_has(product: Product) -> None:
    bound = product.make_key(scopes=FULL_ACCESS, domains=frozenset({"example.com"}))
    assert make(product, key=bound)["domains"] == ["example.com"]
    assert make(product, key=bound, domains=["example.com"])["domains"] == ["example.com"]
    answer = product.request("POST", "/api-keys", json={"name": "x", "domains": ["example.org"]}, key=bound)
    assert_refused(answer, 403, "validation_error")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "missing_required_field"),
        ({"name": ""}, "validation_error"),
        ({"name": "x" * 101}, "validation_error"),
        ({"name": f"{CANARY}\nx"}, "validation_error"),
        ({"name": 7}, "validation_error"),
        ({"name": "x", "permission": CANARY}, "validation_error"),
        ({"name": "x", "domains": [CANARY]}, "validation_error"),
        ({"name": "x", "domains": [f"{CANARY}@example.com"]}, "validation_error"),
        ({"name": "x", "domains": "example.com"}, "validation_error"),
        ({"name": "x", "domain_id": CANARY}, "validation_error"),
        ({"name": "x", "expires_at": CANARY}, "validation_error"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "validation_error"),
        ([], "validation_error"),
    ],
)
def test_bad_key_is_not_made(product: Product, body: Any, name: str) -> None:
    before = len(product.request("GET", "/api-keys").json()["data"])
    assert_refused(product.request("POST", "/api-keys", json=body), 422, name)
    assert len(product.request("GET", "/api-keys").json()["data"]) == before
