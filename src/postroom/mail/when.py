"""Times as clients write them: ISO 8601, or a few English phrases. What they mean depends on `now`, which comes in."""

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from postroom.errors import InvalidInput
from postroom.mail import milliseconds

_MAX_TEXT = 100  # characters
_FLAGS = re.ASCII | re.IGNORECASE

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    r" ?(?:(Z)|([+-])(\d\d)(?::?(\d\d))?)?",
    _FLAGS,
)
_IN = re.compile(r"in +(\d{1,9}|an?) *(sec(?:ond)?|min(?:ute)?|h(?:ou)?r|day|week)s?", _FLAGS)
_ON = re.compile(
    r"(today|tomorrow|(?:mon|tues|wednes|thurs|fri|satur|sun)day),?(?: +at)? +"
    r"(\d{1,2})(?::(\d\d))? *(am|pm)?(?: +([a-z][a-z0-9_+/-]*))?",
    _FLAGS,
)

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_AMERICAN = {  # what Americans write; `EST` and `MST` are zones by themselves
    "et": ZoneInfo("America/New_York"),
    "ct": ZoneInfo("America/Chicago"),
    "mt": ZoneInfo("America/Denver"),
    "pt": ZoneInfo("America/Los_Angeles"),
    "edt": timezone(timedelta(hours=-4)),
    "cdt": timezone(timedelta(hours=-5)),
    "mdt": timezone(timedelta(hours=-6)),
    "pdt": timezone(timedelta(hours=-7)),
    "cst": timezone(timedelta(hours=-6)),
    "pst": timezone(timedelta(hours=-8)),
}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def parse(text: str, *, member: str, now: datetime, furthest: timedelta) -> datetime:
    """The time meant, aware, UTC, in whole milliseconds; one that has passed means `now`.

    Understands ISO 8601 date and time (UTC unless it says otherwise), `in 5 minutes`, `tomorrow at 9am`, `friday at
    17:30 Europe/Berlin`; a weekday is the next one in the future. A local time that a clock change skips is taken as if
    the clock had not been changed yet. Raises `InvalidInput` when it is not understood or beyond `now + furthest`.
    """
    moment = _understood(text.strip(), now) if len(text) <= _MAX_TEXT else None
    if moment is None:
        problem = "is not understood as a time; write 2030-01-31T09:00:00Z, `in 10 minutes` or `tomorrow at 9am`"
        raise InvalidInput(member, problem)
    if moment - now > furthest:
        raise InvalidInput(member, f"is too far ahead; at most {furthest.total_seconds() / 86_400:g} days are allowed")
    return milliseconds.cut(max(moment, now)).astimezone(UTC)


def _understood(text: str, now: datetime) -> datetime | None:
    try:
        return _iso(text) or _from_now(text, now) or _on_day(text, now)
    except (ValueError, OverflowError):  # 30 February, 25:00, year 0, or beyond what a datetime holds
        return None


def _iso(text: str) -> datetime | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[group] or 0) for group in range(1, 7))
    leap = second == 60  # RFC 3339 §5.7; to a computer it is the second after
    microsecond = int((found[7] or "0").ljust(6, "0")[:6])
    zone = _offset(found[9], int(found[10]), int(found[11] or 0)) if found[9] else UTC
    moment = datetime(year, month, day, hour, minute, second - leap, microsecond, tzinfo=zone)
    return moment.astimezone(UTC) + timedelta(seconds=leap)


def _offset(sign: str, hours: int, minutes: int) -> tzinfo:
    if minutes > 59:
        raise ValueError("minutes of offset")
    ahead = timedelta(hours=hours, minutes=minutes)
    return timezone(-ahead if sign == "-" else ahead)


def _from_now(text: str, now: datetime) -> datetime | None:
    found = _IN.fullmatch(text)
    if found is None:
        return None
    number = int(found[1]) if found[1].isdigit() else 1
    return now + number * _UNITS[found[2][0].lower()]


def _on_day(text: str, now: datetime) -> datetime | None:
    found = _ON.fullmatch(text)
    if found is None:
        return None
    day, hour, minute, half, zone_name = found.groups()
    at, zone = _time(int(hour), minute, half), _zone(zone_name)
    if at is None or zone is None:
        return None
    today = now.astimezone(zone).date()
    first = datetime.combine(today + _days_ahead(day.lower(), today.weekday()), at, zone).astimezone(UTC)
    if first > now or day.lower() not in _WEEKDAYS:
        return first
    return datetime.combine(today + timedelta(days=7), at, zone).astimezone(UTC)


def _days_ahead(day: str, weekday: int) -> timedelta:
    if day in _WEEKDAYS:
        return timedelta(days=(_WEEKDAYS.index(day) - weekday) % 7)
    return timedelta(days=1 if day == "tomorrow" else 0)


def _time(hour: int, minute: str | None, half: str | None) -> time | None:
    """Needs minutes or am/pm: a lone `9` might mean either."""
    if half is None:
        return time(hour, int(minute)) if minute else None
    if not 1 <= hour <= 12:
        return None
    return time(hour % 12 + (12 if half.lower() == "pm" else 0), int(minute or 0))


def _zone(name: str | None) -> tzinfo | None:
    """The zone of this name, in any letter case that is usual; None when there is no such zone."""
    if name is None:
        return UTC
    if name.lower() in _AMERICAN:
        return _AMERICAN[name.lower()]
    for spelling in (name, name.upper(), name.title()):
        try:
            return ZoneInfo(spelling)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder, such as `Europe`
            continue
    return None
