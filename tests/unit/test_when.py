"""Times as clients write them: what is understood, what it means from now, what is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import InvalidInput
from postroom.mail import when

NOW = datetime(2026, 3, 27, 12, 0, 0, 123_000, tzinfo=UTC)  # a Friday, two days before clocks change in Europe


def parse(text: str, furthest: timedelta = timedelta(days=30)) -> datetime:
    return when.parse(text, member="scheduled_at", now=NOW, furthest=furthest)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-04-01T09:00:00Z", "2026-04-01T09:00:00"),
        ("2026-04-01t09:00:00z", "2026-04-01T09:00:00"),
        ("2026-04-01T09:00:00", "2026-04-01T09:00:00"),
        ("2026-04-01T09:00", "2026-04-01T09:00:00"),
        ("2026-04-01 09:00:00+00:00", "2026-04-01T09:00:00"),
        ("2026-04-01T09:00:00-05:00", "2026-04-01T14:00:00"),
        ("2026-04-01T09:00:00+0530", "2026-04-01T03:30:00"),
        ("2026-04-01T09:00:00+02", "2026-04-01T07:00:00"),
        ("2026-04-01T09:00:00.5Z", "2026-04-01T09:00:00.500"),
        ("2026-04-01T09:00:00.123456789Z", "2026-04-01T09:00:00.123"),
        ("2026-04-01T09:00:00,250Z", "2026-04-01T09:00:00.250"),
        ("2026-04-01T23:59:60Z", "2026-04-02T00:00:00"),
        ("  2026-04-01T09:00:00Z ", "2026-04-01T09:00:00"),
        ("in 1 min", "2026-03-27T12:01:00.123"),
        ("in 90 sec", "2026-03-27T12:01:30.123"),
        ("In 1 Second", "2026-03-27T12:00:01.123"),
        ("in 5 MINUTES", "2026-03-27T12:05:00.123"),
        ("in 2 hours", "2026-03-27T14:00:00.123"),
        ("in 1 hr", "2026-03-27T13:00:00.123"),
        ("in 3 hrs", "2026-03-27T15:00:00.123"),
        ("in an hour", "2026-03-27T13:00:00.123"),
        ("in 2 days", "2026-03-29T12:00:00.123"),
        ("in  1  week", "2026-04-03T12:00:00.123"),
        ("in 0 seconds", "2026-03-27T12:00:00.123"),
        ("tomorrow at 9am", "2026-03-28T09:00:00"),
        ("Tomorrow at 12am", "2026-03-28T00:00:00"),
        ("tomorrow at 12:30 pm", "2026-03-28T12:30:00"),
        ("tomorrow 17:30", "2026-03-28T17:30:00"),
        ("today at 17:30", "2026-03-27T17:30:00"),
        ("friday at 3pm", "2026-03-27T15:00:00"),
        ("friday at 12:00", "2026-04-03T12:00:00"),
        ("friday at 11am", "2026-04-03T11:00:00"),
        ("monday at 8:05am", "2026-03-30T08:05:00"),
        ("thursday at 8am UTC", "2026-04-02T08:00:00"),
        ("tomorrow at 9am Europe/Berlin", "2026-03-28T08:00:00"),
        ("monday at 9am europe/berlin", "2026-03-30T07:00:00"),
        ("tomorrow at 9am America/New_York", "2026-03-28T13:00:00"),
        ("tomorrow at 9am est", "2026-03-28T14:00:00"),
        ("Friday at 3pm ET", "2026-03-27T19:00:00"),
        ("tomorrow at 9am pt", "2026-03-28T16:00:00"),
        ("tomorrow at 9am PST", "2026-03-28T17:00:00"),
        ("tomorrow at 9am CDT", "2026-03-28T14:00:00"),
        ("tomorrow at 9am GMT", "2026-03-28T09:00:00"),
        ("today at 0:30 Pacific/Kiritimati", "2026-03-27T12:00:00.123"),  # there it is the 28th, and 0:30 is over
        ("tomorrow at 1am Pacific/Kiritimati", "2026-03-28T11:00:00"),
        ("sunday at 2:30 Europe/Berlin", "2026-03-29T01:30:00"),  # skipped by the change to summer time
    ],
)
def test_understood_time_is_utc_in_whole_milliseconds(text: str, utc: str) -> None:
    moment = parse(text)
    assert moment == datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["2020-01-01T00:00:00Z", "2026-03-27T12:00:00Z", "0001-01-01T00:00:00Z", "today at 9am", "2026-03-27T13:00+02"],
)
def test_time_in_the_past_means_now(text: str) -> None:
    assert parse(text) == NOW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "soon",
        "1774612800",
        "2026-04-01",
        "2026-04",
        "09:00",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-04-01T24:00:00Z",
        "2026-04-01T09:60:00Z",
        "2026-04-01T09:00:61Z",
        "2026-04-01T09:00:00+24:00",
        "2026-04-01T09:00:00+01:60",
        "2026-04-01T09:00:00Zx",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-14:00",
        "\uff12\uff10\uff12\uff16-04-01T09:00:00Z",
        "in minutes",
        "in 5",
        "in -5 minutes",
        "in 5 fortnights",
        "in 1.5 hours",
        "in 999999999 weeks",
        "in 9999999999 seconds",
        "in ٣ minutes",
        "tomorrow",
        "tomorrow at 9",
        "tomorrow at 13pm",
        "tomorrow at 0am",
        "tomorrow at 24:00",
        "tomorrow at 9am Mars/Phobos",
        "tomorrow at 9am Europe",
        "tomorrow at 9am europe/",
        "tomorrow at 9am ../../etc/passwd",
        "tomorrow at 9am leapseconds",
        "someday at 9am",
        "in 5 minutes" + " " * 100,
        "in " + "1" * 2**20 + " minutes",
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_what_is_not_understood_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInput, match="not understood") as caught:
        parse(text)
    with pytest.raises(InvalidInput) as of_another:
        parse("another")
    assert str(caught.value) == str(of_another.value)
    assert caught.value.member == "scheduled_at"


def test_time_beyond_the_limit_is_refused() -> None:
    assert parse("in 30 days") == NOW + timedelta(days=30)
    for text in ("in 2592001 seconds", "2027-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        with pytest.raises(InvalidInput, match="at most 30 days"):
            parse(text)
    with pytest.raises(InvalidInput, match=r"at most 0\.5 days"):
        parse("in 13 hours", timedelta(hours=12))


ZONES = st.sampled_from(
    ["", " UTC", " Europe/Berlin", " Pacific/Apia", " America/St_Johns", " posixrules", " a/b", " Etc/"]
)
PHRASES = st.builds(
    "{} at {}:{}{}{}".format,
    st.sampled_from(["today", "tomorrow", "sunday", "monday"]),
    st.integers(0, 30),
    st.integers(0, 99).map("{:02}".format),
    st.sampled_from(["", "am", " pm"]),
    ZONES,
)
ISO_LIKE = st.builds(
    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}".format,
    st.sampled_from([0, 1, 1970, 2026, 9999]),
    *[st.integers(0, 61)] * 5,
    st.sampled_from(["", "Z", "+14:00", "-23:59", "+99:99", ".1", ".999999999Z"]),
)


@given(
    st.text(st.characters(), max_size=30) | PHRASES | ISO_LIKE | st.from_regex(r"\Ain [0-9]{1,10} [a-z]{1,8}\Z"),
    st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),
)
def test_any_text_is_a_time_within_the_limit_or_invalid(text: str, now: datetime) -> None:
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    try:
        moment = when.parse(text, member="scheduled_at", now=now, furthest=timedelta(days=30))
    except InvalidInput:
        return
    assert now <= moment <= now + timedelta(days=30)
    assert moment.tzinfo is UTC
    assert moment.microsecond % 1000 == 0
