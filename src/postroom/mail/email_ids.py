"""Email ids: version 7 UUIDs (RFC 9562 §5.7), which begin with the milliseconds of their making and sort by them."""

import re
from datetime import datetime

import uuid_utils

from postroom.mail import milliseconds

_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new() -> tuple[str, datetime]:
    """A new id, ascending within a process, and the time inside it, in whole milliseconds."""
    made = uuid_utils.uuid7()
    return str(made), milliseconds.to_time(made.timestamp)


def is_one(text: str) -> bool:
    """Whether it has the form of an id."""
    return _FORM.fullmatch(text) is not None


def accepted_at(email_id: str) -> float:
    """The time inside an id, in seconds since 1970."""
    return int(email_id[:8] + email_id[9:13], 16) / 1000


def from_time(moment: datetime) -> str:
    """A text that sorts after the ids of all earlier milliseconds, and before those of this one; within a millisecond,
    before those of the next."""
    rounded_up = milliseconds.of(moment) + (moment.microsecond % 1000 > 0)
    digits = f"{max(rounded_up, 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"
