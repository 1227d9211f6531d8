"""Refusals and faults: one shape for all, and nothing in them that does not belong there."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from postroom import settings, telemetry, wiring
from postroom.api.app import create_app
from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import CANARY, assert_refused, check_shape


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/emails/", "/EMAILS", "/v1/emails", "/emails/a/b/c", "/.env", f"/{CANARY}"],
)
def test_unknown_path(product: Product, path: str) -> None:
    for method in ("GET", "POST"):
        answer = product.request(method, path, json=EMAIL)
        assert_refused(answer, 404, "not_found")
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/emails", "GET, POST"),
        ("PUT", "/emails", "GET, POST"),
        ("OPTIONS", "/emails", "GET, POST"),
        ("POST", "/emails/01890000-0000-7000-8000-000000000000", "GET, PATCH"),
        ("GET", "/emails/01890000-0000-7000-8000-000000000000/cancel", "POST"),
        ("PATCH", "/api-keys", "GET, POST"),
        ("GET", "/api-keys/0123456789ab", "DELETE"),
        ("POST", "/livez", "GET, HEAD"),
    ],
)
def test_wrong_method_names_the_right_ones(product: Product, method: str, path: str, allow: str) -> None:
    answer = product.request(method, path, json={})
    assert_refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allow
    assert answer.json()["message"] == f"this path takes only {allow}"


def test_head_has_status_and_headers_only(product: Product) -> None:
    answer = product.request("HEAD", "/emails")
    assert (answer.status_code, answer.content) == (405, b"")


def test_details_list_every_problem(product: Product) -> None:
    email = {
        "from": "nobody",
        "to": ["a@b", "ok@example.com", "x@y@z"],
        "subject": "a\nb",
        "tags": [{"name": "a b", "value": "c"}],
        "scheduled_at": "soon",
        "attachments": [{}],
        "template": {"id": "x"},
    }
    body = assert_refused(product.request("POST", "/emails", json=email), 422, "validation_error")
    members = [detail["member"] for detail in body["details"]]
    assert set(members) == {
        "template",
        "from",
        "to[0]",
        "to[2]",
        "html",
        "subject",
        "attachments[0]",
        "tags[0].name",
        "scheduled_at",
    }


def test_details_are_bounded(product: Product) -> None:
    email = EMAIL | {"to": [f"{CANARY}{i}" for i in range(50)]}
    body = assert_refused(product.request("POST", "/emails", json=email), 422, "validation_error")
    assert len(body["details"]) == 20


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/problem+json", "application/problem+json"),
        ("application/problem+json, application/json;q=0.5", "application/problem+json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
    ],
)
def test_problem_json_only_for_those_who_name_it(product: Product, accept: str, expected: str) -> None:
    answer = product.request("POST", "/emails", json={}, headers={"Accept": accept})
    assert answer.headers["content-type"] == expected
    body = answer.json()
    assert body["name"] == "missing_required_field"
    if expected == "application/problem+json":
        assert (body["status"], body["type"], body["detail"]) == (422, "about:blank", body["message"])
    else:
        check_shape(body, 422, "missing_required_field")
    assert product.request("POST", "/emails", json=EMAIL, headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    ("given", "taken"),
    [("abc-1.2_3", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("ü", False), ('"><script>', False)],
)
def test_sane_request_ids_are_taken_over(product: Product, given: str, taken: bool) -> None:
    headers = {"X-Request-Id": given.encode()}
    for answer in (
        product.request("GET", "/emails", headers=headers),
        product.request("GET", "/nothing", headers=headers),
        product.request("GET", "/livez", headers=headers),
    ):
        assert (answer.headers["x-request-id"] == given) is taken
        if answer.status_code == 404:
            assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[wiring.Postroom]:
    """The parts of a Postroom, for an application of the test's own."""
    configured = settings.load({"POSTROOM_STORE_URL": f"sqlite:///{tmp_path / 'x.sqlite3'}"})
    with closing(wiring.build(configured)) as postroom:
        postroom.start()
        yield postroom


def test_bug_is_500_without_internals(parts: wiring.Postroom, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(parts)

    async def broken(request: Request) -> Any:
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            raise ValueError(f"cannot handle {CANARY}") from error

    app.add_route("/broken", broken)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/broken")

    with caplog.at_level(logging.ERROR):
        answer = asyncio.run(ask())
    assert_refused(answer, 500, "application_error")
    (record,) = caplog.records
    written = logging.Formatter().format(record)
    assert "in broken" in written
    assert "KeyError" in written
    assert "ValueError" in written
    assert CANARY not in "\n".join(line for line in written.splitlines() if "raise" not in line)


def test_nothing_that_a_client_sends_is_logged(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    email = {
        "from": f"{CANARY} <{CANARY}@example.com>",
        "to": f"{CANARY}@example.net",
        "subject": CANARY,
        "text": CANARY,
        "headers": {f"X-{CANARY}": CANARY},
        "tags": [{"name": CANARY, "value": CANARY}],
        "metadata": {CANARY: CANARY},
        "attachments": [{"content": CANARY, "content_type": "text/plain", "filename": CANARY}],
    }
    caplog.set_level(logging.DEBUG)
    telemetry.quieten()
    with running(engine, tmp_path, environ={"POSTROOM_LOG_LEVEL": "debug"}) as product:
        email_id = product.request("POST", "/emails", json=email, headers={"Idempotency-Key": CANARY}).json()["id"]
        product.wait_for(email_id, "sent")
        product.request("GET", "/emails", params={"subject": CANARY})
        product.request("GET", f"/{CANARY}")
        product.request("GET", "/emails", key=CANARY)
        for member in email:
            product.request("POST", "/emails", json=email | {member: [{CANARY: CANARY}]})
        product.request("POST", "/emails", content=CANARY)
        told = [member.log for member in product.fleet.members] if product.fleet else []
    assert all(told)
    assert told or caplog.records
    assert CANARY not in caplog.text + "".join(told)
    assert not [record for record in caplog.records if CANARY in str(vars(record))]
