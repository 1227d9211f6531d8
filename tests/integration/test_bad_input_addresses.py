"""Senders and recipients that must not pass, and some that look odd and must."""

from typing import Any

import pytest

from tests.product import EMAIL, Product
from tests.refusals import CANARY, assert_refused

WITHOUT: Any = object()


def refused(
    product: Product, member: str, value: Any, name: str = "validation_error", status: int = 422
) -> dict[str, Any]:
    """Sends an email with this member; it must be refused for it, and nothing stored."""
    before = product.count()
    email: dict[str, Any] = EMAIL | {member: value}
    if value is WITHOUT:
        del email[member]
    found = assert_refused(product.request("POST", "/emails", json=email), status, name)
    assert member in found["message"]
    assert found["details"][0]["member"].startswith(member)
    assert product.count() == before
    return found


@pytest.mark.parametrize("value", [WITHOUT, None, [], ""], ids=["absent", "null", "empty list", "empty text"])
def test_row_36_no_recipient(product: Product, value: Any) -> None:
    refused(product, "to", value, "missing_required_field")


@pytest.mark.parametrize("value", [[None], [""], [[]], ["b@example.net", None], ["b@example.net", ""]])
def test_row_36_recipient_that_is_none(product: Product, value: Any) -> None:
    refused(product, "to", value)


def test_row_37_no_sender(product: Product) -> None:
    refused(product, "from", WITHOUT, "missing_required_field")
    refused(product, "from", None, "missing_required_field")
    refused(product, "from", "")


@pytest.mark.parametrize("member", ["from", "to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize(
    "text",
    [
        f"{CANARY}@example.com\r\nBcc: x@evil.example",
        f"{CANARY}@example.com\nBcc: x@evil.example",
        f"{CANARY}\u2028@example.com",
        f"{CANARY}@example.com%0d%0aBcc:x@evil.example",
        f"A\r\nBcc: x@evil.example <{CANARY}@example.com>",
        f"A\x7fB <{CANARY}@example.com>",
        f"A\x85B <{CANARY}@example.com>",
        f"=?utf-8?q?A=0d=0aBcc:x@evil.example?= <{CANARY}@example.com>",
        f"=?utf-8?b?QQ0KQmNjOiB4?= <{CANARY}@example.com>",
        f"{CANARY}@exa\tmple.com",
    ],
)
def test_row_38_and_51_control_characters(product: Product, member: str, text: str) -> None:
    refused(product, member, text)


@pytest.mark.parametrize("text", ["Bob <b@example.net>", '"Bob" <b@example.net>', "  b@example.net  "])
def test_row_40_display_names_are_kept_never_stripped(product: Product, text: str) -> None:
    found = product.email(product.submit(to=text))
    assert found["recipients"][0]["address"] == "b@example.net"
    assert ("Bob" in found["to"][0]) == ("Bob" in text)


@pytest.mark.parametrize(
    "text", ["a@example.com,b@example.com", "a@example.com;b@example.com", "A <a@x.com>, B <b@x.com>"]
)
def test_row_41_several_addresses_in_one_text(product: Product, text: str) -> None:
    assert "list" in refused(product, "to", text)["message"]


@pytest.mark.parametrize(
    "text",
    [
        f"{CANARY}@b@c.com",
        "@example.com",
        f"{CANARY}@",
        CANARY,
        f"a {CANARY}@example.com",
        f".{CANARY}@example.com",
        f"{CANARY}..b@example.com",
        f"{CANARY}.@example.com",
        f"{CANARY}@.example.com",
        f"{CANARY}@example..com",
        f"{CANARY}@example.com.",
        f"{CANARY}@-example.com",
        f"{CANARY}@exam_ple.com",
        f"<{CANARY}@example.com",
        f"{CANARY}@example.com>",
        f"A <{CANARY}@example.com> B",
        "A <>",
        f"mailto:{CANARY}@example.com x",
    ],
)
def test_row_42_not_an_address(product: Product, text: str) -> None:
    for member in ("from", "to", "reply_to"):
        refused(product, member, text)


@pytest.mark.parametrize("text", [f'"a {CANARY}"@example.com', f'"a@evil.example {CANARY}"@internal.example'])
def test_row_44_quoted_local_parts(product: Product, text: str) -> None:
    refused(product, "to", text)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 65 + "@example.com",
        "a@" + ".".join(["b" * 60] * 5) + ".com",
        "a@" + "b" * 64 + ".com",
        "a" * 1_000_000 + "@example.com",
        "A" * 10_000 + " <a@example.com>",
    ],
    ids=["local part", "domain", "label", "whole", "name"],
)
def test_row_45_and_51_too_long(product: Product, text: str) -> None:
    for member in ("from", "to"):
        refused(product, member, text)


@pytest.mark.parametrize(
    "domain", ["localhost", "[127.0.0.1]", "10.0.0.1", "internal", "[IPv6:::1]", "0x7f.1", "2130706433"]
)
def test_row_46_domains_that_are_none(product: Product, domain: str) -> None:
    refused(product, "to", f"{CANARY}@{domain}")


@pytest.mark.parametrize("domain", ["xn--", "xn--\u00fc.com", "ex\u202eample.com", "xn--99999999.com"])
def test_row_47_domains_that_idna_refuses(product: Product, domain: str) -> None:
    refused(product, "to", f"{CANARY}@{domain}")


def test_row_47_international_domains_become_a_labels(product: Product) -> None:
    found = product.email(product.submit(to="u@exämple.com"))
    assert found["recipients"][0]["address"] == "u@xn--exmple-cua.com"


def test_row_48_same_address_twice_is_one_recipient(product: Product) -> None:
    found = product.email(
        product.submit(to=["b@example.net", "b@EXAMPLE.net"], cc="B <b@Example.net>", bcc="c@example.net")
    )
    assert [(one["address"], one["kind"]) for one in found["recipients"]] == [
        ("b@example.net", "to"),
        ("c@example.net", "bcc"),
    ]


@pytest.mark.parametrize("member", ["to", "cc", "bcc"])
@pytest.mark.parametrize("count", [51, 100_000])
def test_row_49_too_many_recipients(product: Product, member: str, count: int) -> None:
    before = product.count()
    email = EMAIL | {member: [f"r{i}@example.net" for i in range(count)]}
    assert "50" in assert_refused(product.request("POST", "/emails", json=email), 422, "validation_error")["message"]
    assert product.count() == before


def test_row_49_fifty_recipients_are_fine(product: Product) -> None:
    found = product.email(product.submit(to=[f"r{i}@example.net" for i in range(50)]))
    assert len(found["recipients"]) == 50


@pytest.mark.parametrize("name", ['Say "hi" \\ back', "😀 smile", "Doe, Jane", "Zoë"])
def test_row_51_odd_display_names_come_back_as_they_were(product: Product, name: str) -> None:
    written = name.replace("\\", "\\\\").replace('"', '\\"')
    found = product.email(product.submit(sender=f'"{written}" <a@example.com>'))
    again = product.email(product.submit(sender=found["from"]))
    assert again["from"] == found["from"]
    assert found["from"].endswith("<a@example.com>")
