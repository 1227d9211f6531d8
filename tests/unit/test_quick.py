"""Values that are cheap to make are in everything else what dataclasses make them."""

import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from inspect import Parameter, signature
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mail.draft import Draft
from postroom.mail.email import Address, Attachment, Email, Event, LastError, Life, Recipient
from postroom.mail.outcome import Envelope, HandOff, Outcome, Reply
from postroom.mail.quick import changed, quick
from postroom.store.base import Added, Claim, IdempotencyKey, Settlement, Submission
from tests import make

QUICK = (
    Address,
    Attachment,
    Recipient,
    Event,
    LastError,
    Life,
    Email,
    Draft,
    IdempotencyKey,
    Submission,
    Added,
    Claim,
    Settlement,
    Envelope,
    HandOff,
    Outcome,
    Reply,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    first: int
    second: str = "default"
    third: Mapping[str, int] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    first: int
    second: str = "default"
    third: Mapping[str, int] = field(default_factory=dict)


arguments = st.fixed_dictionaries(
    {},
    optional={
        "first": st.integers(),
        "second": st.text(),
        "third": st.dictionaries(st.text(), st.integers()),
        "x": st.none(),
    },
)


def made(cls: type, given: dict[str, Any]) -> object:
    """The fields of what is made of these arguments, or the kind of error."""
    try:
        value = cls(**given)
    except TypeError:
        return TypeError
    assert type(value) is cls
    return [getattr(value, name) for name in ("first", "second", "third")]


@given(arguments)
def test_same_arguments_make_the_same_value_or_the_same_error(given: dict[str, Any]) -> None:
    assert made(Quick, given) == made(Plain, given)


def test_no_two_values_share_what_a_factory_made() -> None:
    assert Quick(first=1).third is not Quick(first=1).third


def test_value_is_equal_hashed_shown_copied_and_pickled_like_any_other() -> None:
    value = Quick(first=1, third={"a": 1})
    assert value == Quick(first=1, third={"a": 1}) != Quick(first=2)
    assert repr(value) == "Quick(first=1, second='default', third={'a': 1})"
    assert replace(value, second="x") == Quick(first=1, second="x", third={"a": 1})
    assert pickle.loads(pickle.dumps(value)) == value
    assert not hasattr(value, "__dict__")
    assert len({Recipient(address="a", kind=kind) for kind in ("to", "to", "cc")}) == 2  # type: ignore[arg-type]


@given(arguments)
def test_changed_copy_is_what_replace_makes(changes: dict[str, Any]) -> None:
    value = Quick(first=0, second="kept", third={"kept": 1})
    if "x" in changes:
        with pytest.raises(TypeError):
            changed(value, changes)
    else:
        copy = changed(value, changes)
        assert type(copy) is Quick
        assert copy == replace(value, **changes)
    assert value == Quick(first=0, second="kept", third={"kept": 1})


def test_nothing_can_be_changed_once_it_is_made() -> None:
    for value in (make.email(), changed(make.email(), {"subject": "other"})):
        for name in ("subject", "__class__", "unknown"):
            with pytest.raises((FrozenInstanceError, TypeError)):
                setattr(value, name, "x")
        with pytest.raises(FrozenInstanceError):
            del value.subject


@pytest.mark.parametrize("cls", QUICK)
def test_every_quick_value_takes_exactly_its_fields_and_by_keyword_where_it_says_so(cls: type) -> None:
    parameters = signature(cls).parameters.values()
    made_of = fields(cls)  # type: ignore[arg-type]  # is a dataclass
    assert [p.name for p in parameters] == [f.name for f in made_of]
    assert [p.kind is p.KEYWORD_ONLY for p in parameters] == [f.kw_only for f in made_of]
    assert {p.kind for p in parameters} <= {Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
