"""Subjects, bodies, headers, attachments and tags that must not pass."""

import base64
import json
from typing import Any

import pytest

from tests.product import EMAIL, Product
from tests.refusals import CANARY, assert_refused

WITHOUT: Any = object()
TEXT = {"content": "YWJj"}


def refused(product: Product, name: str, **members: Any) -> dict[str, Any]:
    """Sends an email with these members; it must be refused for the first, and nothing stored."""
    before = product.count()
    email = {key: value for key, value in (EMAIL | members).items() if value is not WITHOUT}
    answer = product.request("POST", "/emails", content=json.dumps(email), headers={"Content-Type": "application/json"})
    found = assert_refused(answer, 422, name)
    assert product.count() == before
    return found


def attachment_refused(product: Product, attachment: Any) -> dict[str, Any]:
    """Sends an email with one attachment, which must be refused."""
    found = refused(product, "invalid_attachment", attachments=[attachment])
    assert found["details"][0]["member"].startswith("attachments[0]")
    return found


@pytest.mark.parametrize("html", [WITHOUT, None, ""], ids=["absent", "null", "empty"])
def test_row_52_neither_text_nor_html(product: Product, html: Any) -> None:
    found = refused(product, "missing_required_field", text=WITHOUT, html=html)
    assert "`html`" in found["message"]
    assert "`text`" in found["message"]


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        (WITHOUT, "missing_required_field"),
        ("", "missing_required_field"),
        (None, "missing_required_field"),
        ("   ", "validation_error"),
        (CANARY * 500, "validation_error"),
        *((f"{CANARY}{char}x", "validation_error") for char in "\t\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029\x7f\x01\x9f"),
    ],
)
def test_row_53_subjects(product: Product, subject: Any, name: str) -> None:
    assert "subject" in refused(product, name, subject=subject)["message"]


@pytest.mark.parametrize("body", ["a\rb", "a\nb", "a\r\n.\r\nb", "a\n.\nb", "a\r.\rb", ".", "\r\n.\r\n"])
def test_row_54_bodies_with_odd_line_ends_become_one_message(product: Product, body: str) -> None:
    email_id = product.submit(text=body, html=body)
    assert product.email(email_id)["text"] == body
    raw = product.request("GET", f"/emails/{email_id}/raw").content
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")


def test_row_56_bodies_over_the_limit(product: Product) -> None:
    limit = product.postroom.settings.max_text_bytes
    for member in ("text", "html"):
        assert member in refused(product, "validation_error", **{member: "x" * (limit + 1)})["message"]
        assert member in refused(product, "validation_error", **{member: "ü" * (limit // 2 + 1)})["message"]
    assert product.submit(text="x" * limit, html="<p>" * 100_000)


@pytest.mark.parametrize(
    "name",
    [
        "Bcc",
        "to",
        "FROM",
        "Sender",
        "Return-Path",
        "Received",
        "DKIM-Signature",
        "Content-Type",
        "MIME-Version",
        "Message-ID",
        "Date",
        "Resent-To",
        "content-id",
    ],
)
def test_row_57_reserved_headers_are_ignored(product: Product, name: str) -> None:
    email_id = product.submit(headers={name: f"{CANARY}@evil.example"})
    assert product.email(email_id)["headers"] == []
    assert CANARY.encode() not in product.request("GET", f"/emails/{email_id}/raw").content


@pytest.mark.parametrize(
    "name", ["X A", "X:A", "X\r\nBcc", "X\nA", "X-ü", "", "X" * 1000, "X\tA", "X\x7fA", "\u2028", "X-A\r", ":"]
)
def test_row_58_header_names(product: Product, name: str) -> None:
    for headers in ({name: CANARY}, [{"name": name, "value": CANARY}]):
        assert "headers" in refused(product, "validation_error", headers=headers)["message"]


@pytest.mark.parametrize(
    "value", [f"{CANARY}\r\nBcc: x@evil.example", f"{CANARY}\n x", "a\rb", "a\u2028b", CANARY * 10_000]
)
def test_row_58_header_values(product: Product, value: str) -> None:
    assert "headers" in refused(product, "validation_error", headers={"X-A": value})["message"]


def test_row_59_number_of_headers(product: Product) -> None:
    assert product.submit(headers={f"X-{i}": "1" for i in range(50)})
    refused(product, "validation_error", headers={f"X-{i}": "1" for i in range(51)})


@pytest.mark.parametrize(
    "content",
    [
        f"{CANARY}!!!",
        "YW=Jj",
        "YWJ",
        "data:text/plain;base64,YWJj",
        "YW Jj",
        "YW-_",
        "",
        [],
        [256],
        [-1],
        [1.5],
        ["a"],
        [True],
        {},
        {"type": "Buffer", "data": "YWJj"},
        {"type": "Buffer", "data": [256]},
        {"type": "Buffer", "data": []},
        {"data": [97]},
        7,
        True,
    ],
)
def test_row_61_attachment_contents(product: Product, content: Any) -> None:
    attachment_refused(product, {"content": content, "filename": "a.bin"})


@pytest.mark.parametrize("attachment", [{}, {"content": None}, {"filename": "a.txt"}, None, "YWJj", []])
def test_row_61_attachments_without_content(product: Product, attachment: Any) -> None:
    attachment_refused(product, attachment)


def test_row_61_attachments_over_the_limit(product: Product) -> None:
    limit = product.postroom.settings.max_attachment_bytes
    half = base64.b64encode(b"x" * (limit // 2 + 1)).decode()
    refused(product, "invalid_attachment", attachments=[{"content": half}, {"content": half}])
    attachment_refused(product, {"content": base64.b64encode(b"x" * (limit + 1)).decode()})
    refused(product, "invalid_attachment", attachments=[TEXT] * 51)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [("../../etc/passwd", "passwd"), ("C:\\x\\y.txt", "y.txt"), (".", None), ("", None), ("..", None), ("/", None)],
)
def test_row_62_filenames_lose_their_path(product: Product, filename: str, expected: str | None) -> None:
    (found,) = product.email(product.submit(attachments=[TEXT | {"filename": filename}]))["attachments"]
    assert found["filename"] == expected


@pytest.mark.parametrize(
    "filename", [f"{CANARY}\r\nX: 1", "a\nb", "exe\u202ecod.txt", "\x7f", CANARY * 30, 7, ["a"], True]
)
def test_row_62_filenames_that_must_not_pass(product: Product, filename: Any) -> None:
    attachment_refused(product, TEXT | {"filename": filename})


@pytest.mark.parametrize(
    "content_type",
    [
        f"text/plain\r\nX-A: {CANARY}",
        "x",
        "message/rfc822",
        "multipart/mixed; boundary=x",
        "text/plain; a",
        "a" * 300 + "/b",
        7,
    ],
)
@pytest.mark.parametrize("member", ["content_type", "contentType"])
def test_row_63_attachment_types(product: Product, content_type: Any, member: str) -> None:
    attachment_refused(product, TEXT | {member: content_type})


@pytest.mark.parametrize("content_id", ["a b", "<a>", "a\r\nb", "ü", "x" * 128, 7])
@pytest.mark.parametrize("member", ["content_id", "inline_content_id"])
def test_row_63_content_ids(product: Product, content_id: Any, member: str) -> None:
    attachment_refused(product, TEXT | {member: content_id})


@pytest.mark.parametrize(
    "path",
    [
        "file:///etc/passwd",
        "http://169.254.169.254/",
        "http://[::ffff:10.0.0.1]/",
        "http://2130706433/",
        "gopher://x",
        f"https://{CANARY}.example/a.pdf",
        "",
        7,
    ],
)
def test_row_65_attachments_are_never_fetched(product: Product, path: Any) -> None:
    attachment_refused(product, {"path": path, "filename": "a.pdf"})


@pytest.mark.parametrize("member", ["template", "topic_id"])
@pytest.mark.parametrize("value", [{"id": CANARY, "variables": {}}, CANARY, {}, 7, False])
def test_row_67_templates_and_topics_are_not_offered(product: Product, member: str, value: Any) -> None:
    assert "not offered" in refused(product, "validation_error", **{member: value})["message"]


def test_row_70_html_is_stored_as_it_is(product: Product) -> None:
    html = "<script>alert(1)</script>{{7*7}}${7*7}{% for x in y %}"
    assert product.email(product.submit(html=html))["html"] == html


@pytest.mark.parametrize("text", ["", "a b", "ä", "x" * 257, "a\n", "a:b"])
@pytest.mark.parametrize("member", ["name", "value"])
def test_tags_outside_their_alphabet(product: Product, text: str, member: str) -> None:
    found = refused(product, "validation_error", tags=[{"name": "a", "value": "b", member: text}])
    assert found["details"][0]["member"] == f"tags[0].{member}"


def test_number_of_tags(product: Product) -> None:
    assert product.submit(tags=[{"name": f"t{i}", "value": "v"} for i in range(75)])
    refused(product, "validation_error", tags=[{"name": f"t{i}", "value": "v"} for i in range(76)])


@pytest.mark.parametrize(
    "metadata", [{f"m{i}": i for i in range(51)}, {"a": CANARY * 2000}], ids=["51 members", "20 KB"]
)
def test_size_of_metadata(product: Product, metadata: Any) -> None:
    assert "metadata" in refused(product, "validation_error", metadata=metadata)["message"]
