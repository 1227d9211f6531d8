"""Idempotency-Key: one email, whatever the network did to the request."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import assert_refused

PARALLEL = 200


def post(product: Product, key: str, payload: Any = EMAIL, path: str = "/emails", **headers: str) -> httpx.Response:
    """Submits with an idempotency key."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return product.request("POST", path, json=payload, headers={"Idempotency-Key": key, **named})


def test_same_request_brings_the_first_answer_back(product: Product) -> None:
    before = product.count()
    first, again = post(product, "a/1"), post(product, "a/1")
    assert first.status_code == again.status_code == 200
    assert again.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert product.count() == before + 1
    assert product.email(first.json()["id"])["idempotency_key"] == "a/1"


def test_replay_answers_the_same_also_after_the_email_was_sent(delivering: Product) -> None:
    first = post(delivering, "sent/1")
    delivering.wait_for(first.json()["id"], "sent")
    assert post(delivering, "sent/1").content == first.content


def test_other_payload_is_a_conflict(product: Product) -> None:
    post(product, "b/1")
    before = product.count()
    assert_refused(post(product, "b/1", EMAIL | {"subject": "other"}), 409, "invalid_idempotent_request")
    assert product.count() == before


def test_payloads_are_compared_as_json_values(product: Product) -> None:
    payload = EMAIL | {"metadata": {"a": 1, "b": [1, 2]}}
    headers = {"Idempotency-Key": "c/1", "Content-Type": "application/json"}
    first = product.request("POST", "/emails", json=payload, headers=headers)
    spaced = json.dumps(payload, indent=3).replace("1", "1.0", 1)
    turned = json.dumps(dict(reversed(payload.items())))
    for text in (spaced, turned):
        again = product.request("POST", "/emails", content=text, headers=headers)
        assert again.json() == first.json()
    changed = json.dumps(payload | {"metadata": {"a": 1.5, "b": [1, 2]}})
    assert product.request("POST", "/emails", content=changed, headers=headers).status_code == 409


def test_key_of_one_endpoint_means_nothing_at_the_other(product: Product) -> None:
    assert post(product, "d/1").status_code == 200
    assert post(product, "d/1", [EMAIL], "/emails/batch").status_code == 200


def test_key_of_one_account_means_nothing_in_another(product: Product) -> None:
    other = product.make_key(account="other")
    headers = {"Idempotency-Key": "e/1"}
    ids = {product.request("POST", "/emails", json=EMAIL, headers=headers, key=k).json()["id"] for k in (None, other)}
    assert len(ids) == 2


def test_batch_replays_as_a_whole(product: Product) -> None:
    before = product.count()
    first, again = (post(product, "f/1", [EMAIL, EMAIL], "/emails/batch") for _ in range(2))
    assert again.content == first.content
    assert product.count() == before + 2


def test_validation_mode_belongs_to_the_payload_of_a_batch(product: Product) -> None:
    assert post(product, "g/1", [EMAIL], "/emails/batch").status_code == 200
    permissive = post(product, "g/1", [EMAIL], "/emails/batch", x_batch_validation="permissive")
    assert_refused(permissive, 409, "invalid_idempotent_request")


def test_refused_request_frees_its_key(product: Product) -> None:
    assert_refused(post(product, "h/1", {}), 422, "missing_required_field")
    assert post(product, "h/1").status_code == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/emails", {}), ("/emails/batch", {}), ("/emails/batch", {"x_batch_validation": "permissive"})],
    ids=["email", "strict batch", "permissive batch"],
)
def test_replay_is_not_refused_because_a_time_has_passed_meanwhile(
    product: Product, path: str, headers: dict[str, str]
) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=1)
    email = EMAIL | {"expires_at": deadline.isoformat()}
    payload = [email, email] if path.endswith("batch") else email
    key, before = f"passed/{path}/{len(headers)}", product.count()
    first = post(product, key, payload, path, **headers)
    assert first.status_code == 200
    product.wait_until(lambda: datetime.now(UTC) > deadline + timedelta(milliseconds=50))
    again = post(product, key, payload, path, **headers)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert product.count() == before + (2 if path.endswith("batch") else 1)
    if not headers:
        assert_refused(post(product, f"{key}/other", payload, path), 422, "validation_error")


def test_key_is_ignored_where_it_does_not_count(product: Product) -> None:
    headers = {"Idempotency-Key": "i/1"}
    assert product.request("POST", "/api-keys", json={"name": "a"}, headers=headers).status_code == 201
    assert product.request("POST", "/api-keys", json={"name": "b"}, headers=headers).status_code == 201


@pytest.mark.parametrize("key", ["x", "e" * 256, "event/id", "with blank and ~!@#$%^&*()"])
def test_any_printable_key_of_1_to_256_characters_is_taken(product: Product, key: str) -> None:
    assert post(product, key).status_code == 200


def test_key_outlives_a_restart(engine: Engine, tmp_path: Path) -> None:
    with running(engine, tmp_path, deliver=False) as before:
        first = post(before, "restart/1")
    with running(engine, tmp_path, deliver=False) as after:
        again = post(after, "restart/1")
        assert again.content == first.content
        assert after.count() == 1


def test_200_parallel_requests_with_one_key_make_one_email(delivering: Product) -> None:
    before = delivering.count()

    async def all_at_once() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=PARALLEL)
        headers = {"Authorization": f"Bearer {delivering.key}", "Idempotency-Key": "parallel/1"}
        async with httpx.AsyncClient(limits=limits, headers=headers, timeout=30, trust_env=False) as client:
            url = f"{delivering.base_url}/emails"
            return await asyncio.gather(*(client.post(url, json=EMAIL) for _ in range(PARALLEL)))

    answers = asyncio.run(all_at_once())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert delivering.count() == before + 1


def test_parallel_requests_with_different_payloads_make_one_email(product: Product) -> None:
    before = product.count()
    together = threading.Barrier(20)

    def one(number: int) -> int:
        together.wait(10)
        return post(product, "race/1", EMAIL | {"subject": f"{number}"}).status_code

    with ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(one, range(20)))
    assert sorted(codes) == [200] + [409] * 19
    assert product.count() == before + 1
