"""The query of a listing: which page, narrowed by what. Everything that is not understood is refused."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from postroom.api.errors import invalid_parameter
from postroom.errors import InvalidInput
from postroom.mail import address, email_ids
from postroom.mail.draft import TAG_TEXT
from postroom.mail.email import Status
from postroom.store.base import Query

DEFAULT_LIMIT, MOST = 20, 100
LONGEST = 1000  # characters
PARAMETERS = (
    "limit",
    "after",
    "before",
    "status",
    "to",
    "subject",
    "tag",
    "created_after",
    "created_before",
)

_TAG = re.compile(f"{TAG_TEXT}(?::{TAG_TEXT})?")


def query(account: str, raw: bytes) -> Query:
    """What a query string asks for. Raises `Refusal`."""
    given = parameters(raw, PARAMETERS)
    after, before = _cursor(given, "after"), _cursor(given, "before")
    if after and before:
        raise invalid_parameter("before", "excludes after")
    created_after, created_before = _time(given, "created_after"), _time(given, "created_before")
    if created_after and created_before and created_after > created_before:
        raise invalid_parameter("created_before", "is earlier than created_after")
    return Query(
        account=account,
        limit=_limit(given.get("limit")),
        after=after,
        before=before,
        status=_statuses(given.get("status")),
        to=_to(given.get("to")),
        subject=given.get("subject") or None,
        tag=_tag(given.get("tag")),
        created_after=created_after,
        created_before=created_before,
    )


def parameters(raw: bytes, known: Collection[str]) -> Mapping[str, str]:
    """What a query string says, by name; nothing but what is known, and each at most once. Raises `Refusal`."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=50, errors="strict")
    except ValueError:
        raise invalid_parameter("query", "is not a query string in UTF-8") from None
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise invalid_parameter("query", f"has an unknown parameter; known are {', '.join(known)}")
        if name in given:
            raise invalid_parameter(name, "is given twice")
        if len(value) > LONGEST or not value.isprintable():
            raise invalid_parameter(name, f"must be printable and at most {LONGEST} characters long")
        given[name] = value
    return given


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MOST:
        raise invalid_parameter("limit", f"must be a whole number from 1 to {MOST}")
    return int(text)


def _cursor(given: Mapping[str, str], name: str) -> str | None:
    if name not in given:
        return None
    cursor = given[name].lower()  # as in a path: some languages write UUIDs in capitals
    if not email_ids.is_one(cursor):
        raise invalid_parameter(name, "must be the id of an email")
    return cursor


def _statuses(text: str | None) -> frozenset[Status]:
    if text is None:
        return frozenset()
    try:
        return frozenset(Status(one) for one in text.split(","))
    except ValueError:
        raise invalid_parameter("status", f"must be some of {', '.join(Status)}, with commas between") from None


def _to(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return address.parse(text, member="to").addr
    except InvalidInput as error:
        raise invalid_parameter("to", error.problem) from None


def _tag(text: str | None) -> str | None:
    if text is not None and not _TAG.fullmatch(text):
        raise invalid_parameter("tag", "must be name or name:value")
    return text


def _time(given: Mapping[str, str], name: str) -> datetime | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a + that was not escaped arrives as a blank
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid_parameter(name, "must be an ISO 8601 time") from None
