"""The OpenAPI document is true: what it promises is what the running product does."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS

from postroom import status
from postroom.api.response_schemas import LastEvent
from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import NAMES


@pytest.fixture(scope="module")
def document(product: Product) -> dict[str, Any]:
    """The document that the product serves."""
    return dict(product.request("GET", "/openapi.json", key="").json())


@pytest.fixture(scope="module")
def schema(product: Product) -> Any:
    """The document, to make requests from."""
    return schemathesis.openapi.from_url(f"{product.base_url}/openapi.json")


PUBLIC = ("/livez", "/healthz", "/readyz", "/health")
OPERATIONS = [
    ("POST", "/emails"),
    ("POST", "/emails/batch"),
    ("GET", "/emails"),
    ("GET", "/emails/{id}"),
    ("PATCH", "/emails/{id}"),
    ("POST", "/emails/{id}/cancel"),
    ("POST", "/emails/{id}/retry"),
    ("GET", "/emails/{id}/events"),
    ("GET", "/emails/{id}/raw"),
    ("POST", "/api-keys"),
    ("GET", "/api-keys"),
    ("DELETE", "/api-keys/{id}"),
    ("GET", "/livez"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/health"),
]


@pytest.mark.one_engine
def test_document_has_every_operation_and_no_other(document: dict[str, Any]) -> None:
    found = [(method.upper(), path) for path, operations in document["paths"].items() for method in operations]
    assert sorted(found) == sorted(OPERATIONS)


CASES = [
    *((GenerationMode.POSITIVE, *operation) for operation in OPERATIONS),
    *(
        (GenerationMode.NEGATIVE, *operation) for operation in OPERATIONS if operation[1] not in PUBLIC
    ),  # they take nothing
]


# The product runs in this process, and MongoDB's driver numbers its messages by the global generator, at any time.
@pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies:hypothesis.errors.HypothesisDeprecationWarning"
)
@pytest.mark.parametrize(("mode", "method", "path"), CASES)
def test_product_does_what_its_document_says(
    product: Product, schema: Any, mode: GenerationMode, method: str, path: str
) -> None:
    excluded = [CHECKS.get_one("positive_data_acceptance")]  # no schema says what an address or a time is
    if path == "/emails/batch":
        excluded.append(CHECKS.get_one("negative_data_rejection"))  # a permissive batch answers 200 with its errors
    strategy = schema[path][method].as_strategy(generation_mode=mode)

    @given(case=strategy)
    @settings(
        max_examples=5 if path == "/emails/batch" else 15,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    def conforms(case: Case) -> None:
        assume([] not in (case.query or {}).values())  # which is not sent, and may be all that is wrong
        without_key = mode is GenerationMode.NEGATIVE and "Authorization" not in (case.headers or {})  # which is wrong
        key = {} if without_key else {"Authorization": f"Bearer {product.key}"}
        case.call_and_validate(headers=key, excluded_checks=excluded, timeout=20)

    conforms()


@pytest.mark.one_engine
def test_every_operation_but_health_needs_a_key(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert (operation.get("security") == [{"key": []}]) is (path not in PUBLIC), path
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


@pytest.mark.one_engine
def test_refusals_are_declared_as_they_are(document: dict[str, Any]) -> None:
    refused = document["components"]["schemas"]["Error"]
    assert set(refused["required"]) == {"statusCode", "name", "message", "request_id"}
    assert set(document["components"]["schemas"]["Name"]["enum"]) <= NAMES
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            for code, answer in operation["responses"].items():
                if code.startswith("4"):
                    content = answer["content"]["application/json"]
                    assert content["schema"] == {"$ref": "#/components/schemas/Error"}
                    problem = answer["content"]["application/problem+json"]
                    assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}


@pytest.mark.one_engine
def test_refusals_are_declared_as_problem_details_too(product: Product, document: dict[str, Any]) -> None:
    wish = {"Accept": "application/problem+json"}
    answer = product.request("POST", "/emails", json={"from": "x"}, headers=wish)
    assert answer.headers["content-type"] == "application/problem+json"
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    jsonschema.validate(answer.json(), schema)


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("method", "path", "key", "body", "headers"),
    [
        ("POST", "/emails", None, EMAIL, {"Prefer": "respond-async"}),
        ("POST", "/emails", None, EMAIL, {"Idempotency-Key": "declared"}),
        ("POST", "/emails", "", EMAIL, {}),
        ("POST", "/emails", None, {}, {}),
        ("GET", "/emails", None, None, {}),
        ("GET", "/livez", "", None, {}),
    ],
)
def test_headers_of_answers_are_declared(
    engine: Engine, tmp_path: Path, method: str, path: str, key: str | None, body: Any, headers: dict[str, str]
) -> None:
    with running(engine, tmp_path, deliver=False, environ={"POSTROOM_RATE_LIMIT": "100"}) as product:
        document = product.request("GET", "/openapi.json", key="").json()
        for _ in range(2):  # the second time an answer may be given anew
            answer = product.request(method, path, key=key, json=body, headers=headers)
            declared = document["paths"][path][method.lower()]["responses"][str(answer.status_code)]["headers"]
            ordinary = {"content-type", "content-length", "date", "server"}
            assert {name.lower() for name in answer.headers} - ordinary <= {name.lower() for name in declared}


@pytest.mark.one_engine
def test_limits_are_those_that_are_set(engine: Engine, tmp_path: Path) -> None:
    set_so = {
        "POSTROOM_MAX_RECIPIENTS": "7",
        "POSTROOM_MAX_ATTACHMENTS": "6",
        "POSTROOM_MAX_BATCH": "5",
        "POSTROOM_MAX_SUBJECT_CHARS": "4",
        "POSTROOM_MAX_TEXT_BYTES": "3000",
    }
    with running(engine, tmp_path, deliver=False, environ=set_so) as product:
        document = product.request("GET", "/openapi.json", key="").json()
    members = document["components"]["schemas"]["EmailIn"]["properties"]
    told = [most_of(members[name]) for name in ("to", "cc", "bcc", "reply_to", "attachments")]
    assert told == [7, 7, 7, 7, 6]
    batch = document["paths"]["/emails/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert batch["maxItems"] == 5
    assert members["subject"]["maxLength"] == 4
    for name in ("html", "text"):
        assert members[name]["description"].endswith(" At most 3,000 bytes.")


def most_of(member: dict[str, Any]) -> int:
    """How many a member takes where it takes a list."""
    [found] = [choice["maxItems"] for choice in member["anyOf"] if choice["type"] == "array"]
    return int(found)


@pytest.mark.one_engine
def test_generated_clients_get_one_type_per_body_and_may_leave_members_out(document: dict[str, Any]) -> None:
    for name in ("EmailIn", "AttachmentIn", "ScheduleIn", "ApiKeyIn"):
        schema = document["components"]["schemas"][name]
        assert not {"anyOf", "oneOf", "allOf"} & set(schema)  # generators make a union of these, without `properties`
        for member in schema["properties"].values():
            assert "default" not in member  # they would demand it
            assert member.get("type") != "null"  # some know no such type


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("bodies", "valid"),
    [({"text": ""}, True), ({"html": "x"}, True), ({}, False), ({"html": None}, False), ({"text": None}, False)],
)
def test_html_or_text_is_needed(document: dict[str, Any], bodies: dict[str, Any], valid: bool) -> None:
    schema = {"$ref": "#/components/schemas/EmailIn", "components": document["components"]}
    email = {"from": "a@example.com", "to": "b@example.com", "subject": "x", **bodies}
    assert jsonschema.Draft202012Validator(schema).is_valid(email) is valid


@pytest.mark.one_engine
@pytest.mark.parametrize(("path", "name"), [("/emails", "EmailIn"), ("/api-keys", "ApiKeyIn")])
def test_examples_are_accepted(product: Product, document: dict[str, Any], path: str, name: str) -> None:
    for example in document["components"]["schemas"][name]["examples"]:  # what "Try it out" sends
        assert product.request("POST", path, json=example).is_success


@pytest.mark.one_engine
def test_all_references_lead_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str):
                assert reference.removeprefix("#/components/schemas/") in schemas
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(document)


def test_last_event_is_declared_with_every_value_that_is_answered() -> None:
    assert set(status.LAST_EVENT.values()) <= set(LastEvent.__args__)  # type: ignore[attr-defined]
