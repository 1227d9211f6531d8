"""Between which ids the page of a listing lies. They begin with the time of acceptance (RFC 9562 §5.7)."""

from postroom.mail import email_ids
from postroom.store.base import Query

_BEYOND_ALL = "g"  # ids are hexadecimal


def of(query: Query) -> tuple[str, str]:
    """The ids above which and below which to look."""
    above, below = query.before or "", query.after or _BEYOND_ALL
    if query.created_after:
        above = max(above, email_ids.from_time(query.created_after))
    if query.created_before:
        below = min(below, email_ids.from_time(query.created_before))
    return above, below
