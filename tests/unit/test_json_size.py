"""Bodies that would become millions of values are found out before they are parsed; long texts and octets are fine."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.api import strict_json
from postroom.api.json_size import is_sane
from postroom.errors import InvalidInput

MANY = 600_000
HTML = "<p style='{a: b, c: d}'>[x], \"q\": a \\ b, and so on</p>\n"


def email(**members: Any) -> bytes:
    plain = {"from": "ann@example.com", "to": "bob@example.net", "subject": "s", "text": "t"}
    return json.dumps(plain | members).encode()


@pytest.mark.parametrize(
    "one", [b"[]", b"{}", b'{"":0}', b"[[[]]]", b"1.5", b"12345", b'"ab"', b"null", b"[ ]", b'{"a":[]}']
)
def test_millions_of_values_are_refused(one: bytes) -> None:
    body = b'{"from": "x", "zz": [' + (one + b", ") * MANY + b"0]}"
    with pytest.raises(InvalidInput, match="too many values"):
        strict_json.parse(body, max_depth=20)


@pytest.mark.parametrize(
    "body",
    [
        email(html=HTML * 40_000),
        email(attachments=[{"content": list(range(256)) * 10_000, "filename": "a.bin"}]),
        json.dumps([json.loads(email(html=HTML * 300, headers={f"X-{i}": "v" for i in range(50)}))] * 100).encode(),
        json.dumps([json.loads(email(to=["bob@example.net"] * 50))] * 300, indent=4).encode(),
    ],
    ids=["a long text", "octets", "a batch", "a batch with blanks"],
)
def test_what_an_email_may_hold_is_taken(body: bytes) -> None:
    assert len(body) > 400_000
    assert strict_json.parse(body, max_depth=20)


PIECES: list[Callable[[int], str]] = [
    lambda n: HTML * n,
    lambda n: "\\" * n,
    lambda n: '"' * n,
    lambda n: "x" * n,
    lambda n: "],[{" * n,
]


@given(st.lists(st.tuples(st.sampled_from(PIECES), st.integers(0, 60_000)), min_size=1, max_size=6))
def test_what_is_in_a_text_does_not_count_wherever_it_is_cut(parts: list[tuple[Callable[[int], str], int]]) -> None:
    texts = [piece(count) for piece, count in parts]
    assert is_sane(json.dumps(texts).encode(), most=100)
    assert not is_sane(json.dumps([*texts, *[[]] * 300_000]).encode(), most=100)
