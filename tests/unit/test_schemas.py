"""From a client's JSON to a draft, without a server: spellings, defaults, and what problems are called."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.api import drafts
from postroom.api.errors import InvalidBody, refusal_of
from postroom.api.problems import shaped
from postroom.api.schemas import ScheduleIn
from postroom.errors import InvalidInput, MissingMember
from postroom.mail.draft import Draft
from postroom.mail.email import Address, Lane, OnUncertain
from postroom.settings import Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EMAIL: dict[str, Any] = {"from": "a@example.com", "to": "b@example.net", "subject": "s", "text": "t"}
SETTINGS = Settings.model_validate({})


def draft(**members: Any) -> Draft:
    """A draft of a sensible email with these members."""
    return drafts.draft(EMAIL | members, settings=SETTINGS, now=NOW)


def problems(**members: Any) -> dict[str, str]:
    """What is wrong with a sensible email with these members."""
    with pytest.raises(InvalidBody) as caught:
        draft(**members)
    return {problem.member: problem.problem for problem in caught.value.problems}


def test_smallest_email_has_the_defaults() -> None:
    found = draft()
    assert found.to == (Address("b@example.net"),)
    assert (found.cc, found.bcc, found.reply_to, found.headers, found.attachments, found.tags) == ((),) * 6
    assert (found.lane, found.on_uncertain, found.max_attempts) == (Lane.NORMAL, OnUncertain.RESEND, None)
    assert (found.scheduled_at, found.expires_at, found.metadata) == (None, None, {})


def test_empty_html_is_none_and_empty_text_is_a_text() -> None:
    assert (draft(html="").html, draft(text="", html="<p>x</p>").text) == (None, "")


def test_lane_of_the_caller_yields_to_the_priority_of_the_email() -> None:
    bulk = drafts.draft(EMAIL, settings=SETTINGS, now=NOW, lane=Lane.BULK)
    urgent = drafts.draft(EMAIL | {"priority": "urgent"}, settings=SETTINGS, now=NOW, lane=Lane.BULK)
    assert (bulk.lane, urgent.lane) == (Lane.BULK, Lane.URGENT)


def test_times_are_resolved() -> None:
    found = draft(scheduled_at="in 10 minutes", expires_at="2026-11-23T00:00:00+01:00")
    assert found.scheduled_at == NOW + timedelta(minutes=10)
    assert found.expires_at == datetime(2026, 11, 22, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (-7, "-7"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        ("x", "x"),
        (1e300, "1e+300"),
        (2.0, "2"),
        (20260101.0, "20260101"),
    ],
)
def test_header_values_become_text(value: Any, text: str) -> None:
    assert draft(headers={"X-A": value}).headers == (("X-A", text),)


def test_headers_without_a_value_are_absent() -> None:
    assert draft(headers={"X-A": None}).headers == draft(headers=[{"name": "X-A"}]).headers == ()


def test_same_header_twice_is_kept_twice() -> None:
    headers = [{"name": "X-A", "value": "1"}, {"name": "X-A", "value": "2"}]
    assert draft(headers=headers).headers == (("X-A", "1"), ("X-A", "2"))


@pytest.mark.parametrize("member", ["to", "cc", "bcc", "reply_to"])
def test_addresses_may_be_one_or_a_list_and_the_problem_says_so(member: str) -> None:
    assert problems(**{member: 5}) == {member: "must be an address or a list of addresses"}


def test_problems_name_their_members() -> None:
    found = problems(
        to=["nobody", "b@example.net"],
        subject="",
        tags=[{"name": "a", "value": "b"}, {"name": "a b", "value": "c"}],
        attachments=[{"content": "YWJj"}, {"content": "!"}],
        headers={"X A": "1"},
        max_attempts=5,
    )
    assert set(found) == {"to[0]", "subject", "tags[1].name", "attachments[1].content", "headers"}


def test_problems_of_shape_name_their_members() -> None:
    found = problems(to=[7], tags=[{"name": "a", "value": 7}], headers=[{"name": 7, "value": "x"}], max_attempts="7")
    assert set(found) == {"to[0]", "tags[0].value", "headers[0].name", "max_attempts"}


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"to": None, "attachments": [{}], "from": "x"}, "missing_required_field"),
        ({"attachments": [{}]}, "invalid_attachment"),
        ({"attachments": [7]}, "invalid_attachment"),
        ({"reply_to": "x"}, "validation_error"),
    ],
)
def test_name_of_the_refusal(members: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        draft(**members)
    refusal = refusal_of(caught.value)
    assert refusal
    assert (refusal.status, refusal.name) == (422, name)


def test_missing_members_are_told_together() -> None:
    with pytest.raises(InvalidBody) as caught:
        drafts.draft({}, settings=SETTINGS, now=NOW)
    assert [problem.member for problem in caught.value.problems] == ["from", "to", "subject"]
    with pytest.raises(InvalidBody) as caught:
        shaped(ScheduleIn, {})
    assert caught.value.message() == "Missing `scheduled_at` field: it is required."


def test_required_member_that_is_null_is_missing() -> None:
    with pytest.raises(InvalidBody) as caught:
        drafts.draft({"from": None, "to": [None], "subject": None}, settings=SETTINGS, now=NOW)
    found = {problem.member: type(problem) for problem in caught.value.problems}
    assert found == {"from": MissingMember, "to[0]": InvalidInput, "subject": MissingMember}


@pytest.mark.parametrize("member", ["template", "topic_id"])
def test_what_is_not_offered_is_told_before_what_is_missing(member: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        drafts.draft({"from": "a@example.com", "to": "b@example.net", member: {"id": "x"}}, settings=SETTINGS, now=NOW)
    refusal = refusal_of(caught.value)
    assert refusal
    assert (refusal.name, refusal.message) == ("validation_error", f"{member}: is not offered by this service.")
    assert [problem.member for problem in caught.value.problems] == [member, "subject"]


def test_attachments_share_one_limit() -> None:
    settings = Settings.model_validate({"max_attachment_bytes": 5})
    attachments = [{"content": [1, 2, 3]}, {"content": [4, 5]}]
    assert len(drafts.draft(EMAIL | {"attachments": attachments}, settings=settings, now=NOW).attachments) == 2
    with pytest.raises(InvalidBody, match=r"attachments\[2\]"):
        drafts.draft(EMAIL | {"attachments": [*attachments, {"content": [6]}]}, settings=settings, now=NOW)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
NAMES = [*EMAIL, "cc", "bcc", "reply_to", "html", "headers", "attachments", "tags", "scheduled_at", "metadata"]
NAMES += ["priority", "max_attempts", "expires_at", "on_uncertain", "template", "topic_id", "unknown"]


@given(st.dictionaries(st.sampled_from(NAMES), anything))
def test_any_json_is_a_draft_or_a_list_of_problems(members: dict[str, Any]) -> None:
    error: Exception | None = None
    try:
        draft(**members)
    except InvalidBody as raised:
        error = raised
    if error:
        refusal = refusal_of(error)
        assert refusal
        assert refusal.status == 422
        assert 1 <= len(refusal.details) <= 20
