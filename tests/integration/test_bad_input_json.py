"""Bodies that are not JSON, or JSON with more than one meaning."""

import json
from typing import Any

import pytest

from tests.product import EMAIL, Product
from tests.refusals import CANARY, assert_refused

VALID = json.dumps(EMAIL)
JSON = {"Content-Type": "application/json"}


def email_with(member: str) -> bytes:
    """A valid email as JSON text, with one more member as written."""
    return (VALID[:-1] + f", {member}}}").encode()


def refused(product: Product, body: bytes, name: str = "validation_error", path: str = "/emails") -> dict[str, Any]:
    """Sends a body; it must be refused as 422 and nothing stored."""
    before = product.count()
    answer = product.request("POST", path, content=body, headers=JSON)
    found = assert_refused(answer, 422, name)
    assert product.count() == before
    return found


@pytest.mark.parametrize(
    "body",
    [
        CANARY,
        "{",
        '{"from": "' + CANARY,
        VALID + " trailing " + CANARY,
        VALID + VALID,
        VALID + "\n" + VALID,
        "/* comment */ " + VALID,
        VALID + " // comment",
        VALID.replace('"', "'"),
        VALID[:-1] + ",}",
        "{from: 1}",
        "\x00",
        "[1,]",
        "0x10",
        "01",
        "+1",
        ".5",
        "tru",
        "\ufffe",
        '"\t"',
        '"\\x"',
        "{}{",
        "]",
    ],
)
def test_row_19_not_json(product: Product, body: str) -> None:
    message = refused(product, body.encode("utf-8"))["message"]
    assert "JSON" in message
    assert any(char.isdigit() for char in message), "the place is named"


@pytest.mark.parametrize("body", ["null", "true", "7", '"text"', "[]", "[{}]"])
def test_row_19_json_that_is_no_object(product: Product, body: str) -> None:
    refused(product, body.encode())


@pytest.mark.parametrize(
    ("member", "named"),
    [
        ('"to": "b@example.net"', "to"),
        ('"metadata": {"a": 1, "a": 2}', "a"),
        (f'"unknown": {{"{CANARY} x": 1, "{CANARY} x": 1}}', ""),
        ('"tags": [{"name": "a", "value": "b", "name": "c"}]', "name"),
    ],
)
def test_row_21_members_given_twice(product: Product, member: str, named: str) -> None:
    assert named in refused(product, email_with(member))["message"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("member", ["max_attempts", "metadata", "unknown"])
def test_row_22_numbers_that_are_none(product: Product, number: str, member: str) -> None:
    refused(product, email_with(f'"{member}": {{"a": {number}}}' if member == "metadata" else f'"{member}": {number}'))


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "1" * 5000, str(2**63), str(-(2**63) - 1), str(2**64), "9" * 25])
@pytest.mark.parametrize("member", ["max_attempts", "metadata", "unknown"])
def test_row_24_integers_out_of_range(product: Product, number: str, member: str) -> None:
    refused(
        product, email_with(f'"{member}": {{"a": [{number}]}}' if member == "metadata" else f'"{member}": {number}')
    )


def test_row_24_integers_in_range_are_kept(product: Product) -> None:
    metadata = {"most": 2**63 - 1, "least": -(2**63)}
    assert product.email(product.submit(metadata=metadata))["metadata"] == metadata


@pytest.mark.parametrize("depth", [21, 300, 900, 100_000])
@pytest.mark.parametrize("member", ["", '"unknown": ', '"metadata": {"a": '])
def test_row_25_deep_nesting(product: Product, depth: int, member: str) -> None:
    nested = "[" * depth + "]" * depth
    body = email_with(f"{member}{nested}{'}' if '{' in member else ''}") if member else nested.encode()
    message = refused(product, body)["message"]
    assert "nested" in message or not member


def test_row_25_unclosed_nesting(product: Product) -> None:
    refused(product, b"[" * 100_000)
    refused(product, b'{"a":' * 100_000)


def test_row_25_nesting_up_to_the_limit_is_fine(product: Product) -> None:
    assert (
        product.request("POST", "/emails", content=email_with('"unknown": ' + "[" * 19 + "]" * 19)).status_code == 200
    )


@pytest.mark.parametrize("text", ["\\ud800", "\\udfff", "\\udc00\\ud800", "a\\ud83dz", "\\uD800\\u0041"])
@pytest.mark.parametrize("member", ["subject", "text", "html", "unknown"])
def test_row_26_halves_of_surrogate_pairs(product: Product, text: str, member: str) -> None:
    body = {key: value for key, value in EMAIL.items() if key != member}
    refused(product, (json.dumps(body)[:-1] + f', "{member}": "{text}"}}').encode())


def test_row_26_whole_surrogate_pairs_are_characters(product: Product) -> None:
    body = (json.dumps({**EMAIL, "subject": "x"})[:-1]).replace('"x"', '"\\ud83d\\ude00"') + "}"
    answer = product.request("POST", "/emails", content=body)
    assert product.email(answer.json()["id"])["subject"] == "😀"


@pytest.mark.parametrize(
    "octets",
    [b"\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", "Zoë".encode("latin-1"), b"\xc3"],
    ids=["invalid", "overlong 2", "overlong 3", "surrogate", "five octets", "latin-1", "cut off"],
)
def test_row_28_not_utf_8(product: Product, octets: bytes) -> None:
    body = VALID.encode().replace(b"Hello", b"Hello" + octets, 1)
    assert "UTF-8" in refused(product, body)["message"]


@pytest.mark.parametrize("member", ["subject", "text", "html", "from", "to", "scheduled_at", "unknown"])
def test_row_29_escaped_nul(product: Product, member: str) -> None:
    body = {key: value for key, value in EMAIL.items() if key != member}
    refused(product, (json.dumps(body)[:-1] + f', "{member}": "a\\u0000b"}}').encode())
    refused(product, (json.dumps(body)[:-1] + f', "{member}": ["a", "\\u0000"]}}').encode())


def test_row_29_escaped_backslash_before_u0000_is_no_nul(product: Product) -> None:
    text = "C:\\u0000"
    assert product.email(product.submit(text=text))["text"] == text


def test_row_30_unknown_members_are_ignored(product: Product) -> None:
    assert product.request("POST", "/emails", content=email_with(f'"too": "{CANARY}"')).status_code == 200


@pytest.mark.parametrize("name", ["$where", "a.b", "", "a b", "ä", "x" * 65, CANARY + "\n"])
def test_row_31_names_that_metadata_may_not_have(product: Product, name: str) -> None:
    for metadata in ({name: 1}, {"a": {name: 1}}, {"a": [{name: 1}]}):
        body = refused(product, json.dumps(EMAIL | {"metadata": metadata}).encode())
        assert body["details"][0]["member"] == "metadata"


@pytest.mark.parametrize("name", ["__proto__", "constructor", "toString"])
def test_row_31_names_that_mean_something_elsewhere_are_only_names(product: Product, name: str) -> None:
    assert product.email(product.submit(metadata={name: 1}))["metadata"] == {name: 1}


@pytest.mark.parametrize("value", [True, "7", 7.0, 7.5, [7], {}, 0, -1, 1001])
def test_row_32_strict_integers(product: Product, value: Any) -> None:
    body = refused(product, json.dumps(EMAIL | {"max_attempts": value}).encode())
    assert body["details"][0]["member"] == "max_attempts"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("from", 7),
        ("from", ["a@example.com"]),
        ("to", 7),
        ("to", {"email": CANARY}),
        ("cc", [7]),
        ("subject", True),
        ("html", 7),
        ("text", [CANARY]),
        ("headers", CANARY),
        ("headers", [CANARY]),
        ("headers", {"X-A": {"a": CANARY}}),
        ("headers", {"X-A": [CANARY]}),
        ("headers", [{"value": CANARY}]),
        ("tags", {"a": CANARY}),
        ("tags", [CANARY]),
        ("tags", [{"name": "a"}]),
        ("tags", [{"name": "a", "value": 7}]),
        ("tags", [{"name": CANARY, "value": None}]),
        ("scheduled_at", 1_800_000_000_000),
        ("metadata", [CANARY]),
        ("metadata", CANARY),
        ("priority", CANARY),
        ("on_uncertain", "maybe"),
        ("expires_at", 7),
    ],
)
def test_row_32_members_of_a_wrong_type(product: Product, member: str, value: Any) -> None:
    body = refused(product, json.dumps(EMAIL | {member: value}).encode())
    assert body["details"][0]["member"].startswith(member)


def test_row_34_ten_megabytes_in_a_subject(product: Product) -> None:
    body = refused(product, json.dumps(EMAIL | {"subject": CANARY * 1_000_000}).encode())
    assert body["details"][0]["member"] == "subject"


@pytest.mark.parametrize(
    "value",
    [[7] * 500_000, [None] * 150_000, [{}] * 200_000, ["x"] * 500_000],
    ids=["numbers", "nulls", "objects", "texts"],
)
@pytest.mark.parametrize("member", ["to", "tags", "headers", "attachments", "reply_to"])
def test_long_lists_of_nonsense_are_refused_quickly(product: Product, member: str, value: list[Any]) -> None:
    name = "invalid_attachment" if member == "attachments" else "validation_error"
    answer = product.request("POST", "/emails", json=EMAIL | {member: value})
    assert_refused(answer, 422, name)
    assert answer.elapsed.total_seconds() < 3
