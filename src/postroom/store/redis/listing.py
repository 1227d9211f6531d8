"""Pages of one account's emails: whatever is asked for, an index leads to it, the one with the fewest entries.

The ids of that index are walked in their order; what else was asked for is checked on the emails found.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from postroom.errors import EmailNotFound
from postroom.mail.email import Email, Status
from postroom.store.base import Page, Query
from postroom.store.redis import records, scripts, times
from postroom.store.redis.records import SUMMARY, Record
from postroom.store.redis.talk import Command, Talk

MOST_COLLECTED = 5_000  # ids that are fetched and sorted at once; a subject's index is not in the order of ids
_STEP = 250
_ID_CHARS = 36


@dataclass(frozen=True, slots=True)
class _Lead:
    """An index, or several with no id in common, that have all emails which fulfil one wish."""

    indexes: tuple[str, ...]
    sizes: tuple[Command, ...]


def page(talk: Talk, query: Query) -> Page:
    """One page, newest first."""
    _check_cursor(talk, query)
    found = list(islice(_matching(talk, query), query.limit + 1))
    emails = found[: query.limit]
    return Page(emails=tuple(emails[::-1] if query.before else emails), has_more=len(found) > query.limit)


def _check_cursor(talk: Talk, query: Query) -> None:
    cursor = query.after or query.before
    if cursor and talk.ask("HGET", f"postroom:email:{cursor}", "account") != query.account.encode():
        raise EmailNotFound(f"no email {cursor}")


def _matching(talk: Talk, query: Query) -> Iterator[Email]:
    """All emails of the query from the cursor on, read in steps as they are asked for."""
    fulfils = _condition(query)
    for record in _candidates(talk, query):
        email = records.email_of(record)
        if fulfils(email):
            yield email


def _candidates(talk: Talk, query: Query) -> Iterator[Record]:
    leads = _leads(query)
    sizes = [sum(talk.ask_all(lead.sizes)) for lead in leads] if len(leads) > 1 or query.subject else [0]
    if query.subject:
        subject = _subject_range(query)
        matches = talk.ask("ZLEXCOUNT", *subject)
        if matches <= min(MOST_COLLECTED, *sizes):
            return _collected(talk, query, subject)
    _, lead = min(zip(sizes, leads, strict=True), key=lambda pair: pair[0])
    return _walked(talk, query, lead)


def _leads(query: Query) -> list[_Lead]:
    """The indexes that list what the query asks for."""
    account, leads = query.account, []
    if query.to:
        leads.append(_lead(f"term:{account}\0{records.address_term(query.to)}"))
    if query.tag:
        leads.append(_lead(f"term:{account}\0#{query.tag}"))
    if query.status or not leads:
        leads.append(_lead(*[f"listed:{status}:{account}" for status in sorted(query.status or Status)]))
    return leads


def _lead(*indexes: str) -> _Lead:
    return _Lead(indexes, tuple(("ZCARD", f"postroom:{index}") for index in indexes))


def _walked(talk: Talk, query: Query, lead: _Lead) -> Iterator[Record]:
    above, below = _span(query)
    step = query.limit + 1
    while True:
        low, high = f"({above}" if above else "-", f"({below}" if below else "+"
        direction = "up" if query.before else "down"
        found = talk.read(scripts.WALK, direction, low, high, step, len(lead.indexes), *lead.indexes, *SUMMARY)
        yield from (Record(*fields) for fields in found)
        if len(found) < step:
            return
        last = found[-1][0].decode()
        above, below, step = (last, below, _STEP) if query.before else (above, last, _STEP)


def _collected(talk: Talk, query: Query, subject: Command) -> Iterator[Record]:
    above, below = _span(query)
    members: list[bytes] = talk.ask("ZRANGEBYLEX", *subject)
    ids = (member[-_ID_CHARS:].decode() for member in members)
    wanted = sorted((one for one in ids if above < one and (not below or one < below)), reverse=not query.before)
    for start in range(0, len(wanted), _STEP):
        some = wanted[start : start + _STEP]
        replies = talk.ask_all([("HMGET", f"postroom:email:{one}", *SUMMARY) for one in some])
        yield from (Record(one.encode(), *fields) for one, fields in zip(some, replies, strict=True) if fields[0])


def _condition(query: Query) -> Callable[[Email], bool]:
    subject = (query.subject or "").casefold()
    wanted = {records.address_term(query.to)} if query.to else set()
    wanted |= {f"#{query.tag}"} if query.tag else set()

    def fulfils(email: Email) -> bool:
        if query.status and email.life.status not in query.status:
            return False
        if subject and not email.subject.casefold().startswith(subject):
            return False
        return not wanted or wanted <= records.terms([r.address for r in email.life.recipients], email.tags)

    return fulfils


def _subject_range(query: Query) -> Command:
    beginning = records.subject_beginning(query.subject or "").encode()
    return f"postroom:subject:{query.account}", b"[" + beginning, b"(" + beginning + b"\xff"


def _span(query: Query) -> tuple[str, str]:
    """The ids between which the page lies, '' for no bound. They begin with the time of acceptance (RFC 9562 §5.7)."""
    above, below = [query.before or ""], [query.after or ""]
    if query.created_after:
        above.append(_id_from(query.created_after))
    if query.created_before:
        below.append(_id_from(query.created_before))
    return max(above), min(filter(None, below), default="")


def _id_from(moment: datetime) -> str:
    """A text that sorts after all ids of earlier milliseconds, and before all of this or, within one, of the next."""
    rounded = moment + timedelta(microseconds=-moment.microsecond % 1000)
    digits = f"{max(times.to_ms(rounded), 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"
