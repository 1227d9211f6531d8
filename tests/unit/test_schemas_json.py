"""Strict JSON: the value of the body, or one clear problem; whatever the octets."""

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.api import strict_json
from postroom.errors import InvalidInput

MAX_DEPTH = 20

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def parse(body: bytes) -> Any:
    """With the depth that the settings have."""
    return strict_json.parse(body, max_depth=MAX_DEPTH)


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_every_value_comes_back(value: Any, ascii_only: bool, indent: int | None) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()) == value


@given(st.binary(max_size=200))
def test_any_octets_are_a_value_or_one_problem(body: bytes) -> None:
    problem: InvalidInput | None = None
    try:
        parse(body)
    except InvalidInput as raised:
        problem = raised
    assert problem is None or (problem.problem and not problem.member)


@given(st.text(st.sampled_from('{}[]:,"\\u0dD8ceE+-.123 truefalsn'), max_size=60))
def test_whatever_passes_is_json_to_another_parser_too(text: str) -> None:
    try:
        value = parse(text.encode())
    except InvalidInput:
        return
    assert orjson.loads(text) == value


@given(st.integers(0, 40), st.sampled_from(["[", '{"a":']))
def test_depth_is_counted_exactly(depth: int, opening: str) -> None:
    body = opening * depth + "1" + ("]" if opening == "[" else "}") * depth
    if depth <= MAX_DEPTH:
        parse(body.encode())
    else:
        with pytest.raises(InvalidInput, match="nested deeper than 20"):
            parse(body.encode())


@given(st.integers())
def test_integers_pass_when_64_bits_hold_them(number: int) -> None:
    for value in (number, number * 2**55):
        body = json.dumps([value]).encode()
        if -(2**63) <= value < 2**63:
            assert parse(body) == [value]
        else:
            with pytest.raises(InvalidInput, match="out of range"):
                parse(body)


def test_brackets_in_texts_are_no_depth() -> None:
    assert parse(json.dumps(["{" * 1000, "[" * 1000]).encode())


def test_numbers_with_fraction_are_floats_to_everybody() -> None:
    (number,) = parse(b"[1.0]")
    assert isinstance(number, float)
    assert json.dumps(number) == "1.0"


def test_problem_names_a_plain_member_and_no_other() -> None:
    with pytest.raises(InvalidInput, match="the member subject is given twice"):
        parse(b'{"subject": 1, "subject": 2}')
    with pytest.raises(InvalidInput, match="a member is given twice"):
        parse(b'{"sec ret": 1, "sec ret": 2}')


def test_many_members_of_which_the_last_is_given_twice_are_no_trouble() -> None:
    names = [f'"m{i}":0' for i in range(200_000)]
    with pytest.raises(InvalidInput, match="m199999 is given twice"):
        parse(("{" + ",".join([*names, names[-1]]) + "}").encode())


# Bodies as people write them: names that come twice, blanks anywhere, colons and quotation marks inside texts.
_blanks = st.text(st.sampled_from(" \t\n"), max_size=2)
_short_texts = st.text(st.sampled_from('ab:"\\ {}[],é\0'), max_size=4)
_members = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**64) | st.sampled_from([1.0, 1.5, 1e300]) | _short_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_short_texts, inner, max_size=2),
    max_leaves=5,
)
_few_names = st.sampled_from(["to", "cc", ":", "a:b", '"', "é"])


@st.composite
def written_objects(draw: st.DrawFn) -> str:
    pairs = draw(
        st.lists(st.tuples(_few_names, _short_texts | st.lists(_short_texts, max_size=3) | _members), max_size=4)
    )
    ascii_only = draw(st.booleans())
    written = [
        f"{draw(_blanks)}{json.dumps(name, ensure_ascii=ascii_only)}{draw(_blanks)}:{draw(_blanks)}"
        f"{json.dumps(value, ensure_ascii=ascii_only)}{draw(_blanks)}"
        for name, value in pairs
    ]
    return "{" + ",".join(written) + "}"


def outcome(parser: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Any, str]:
    """What a parser returns and its types, or its problem."""
    try:
        value = parser(*arguments, **named)
    except InvalidInput as problem:
        return None, problem.problem
    return value, repr(value)  # the text tells 1 from 1.0 and from True


@given(
    written_objects() | st.lists(written_objects(), max_size=3).map(lambda objects: f"[{','.join(objects)}]"),
    st.integers(1, 4),
)
def test_fast_way_and_careful_way_agree(text: str, max_depth: int) -> None:
    body = text.encode()
    careful = outcome(strict_json._parse_carefully, body, max_depth)
    assert outcome(strict_json.parse, body, max_depth=max_depth) == careful


def test_what_most_clients_send_takes_the_fast_way() -> None:
    email = {
        "from": "A: <a@example.com>",
        "to": ["b@example.com"],
        "subject": 'Re: "x"',
        "text": "a: b\nc",
        "html": None,
    }
    for payload in (email, [email, email]):
        for body in (json.dumps(payload), json.dumps(payload, indent=1), json.dumps(payload, separators=(",", ":"))):
            assert strict_json._plain(body.encode()) == payload


@pytest.mark.parametrize(
    "body", ['{"a":"x","a":"x"}', '{"a":":","a":""}', '{"a":"","b":"","a":"::"}', '[{"a":"1"},{"b":"2","b":"3"}]']
)
def test_name_that_comes_twice_never_takes_the_fast_way(body: str) -> None:
    assert strict_json._plain(body.encode()) is None
