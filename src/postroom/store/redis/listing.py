"""Pages of one account's emails: whatever is asked for, an index leads to it, the one with the fewest entries.

Its ids are walked in order, past those that another index lacks. A subject is checked on the emails found.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from postroom.errors import EmailNotFound
from postroom.mail.email import Email, Status
from postroom.store import bounds, search_terms, unreadable
from postroom.store.base import Page, Query
from postroom.store.redis import reading, records, scripts
from postroom.store.redis.records import Record
from postroom.store.redis.session import Argument, Command, Session
from postroom.store.redis.wire import Reply

MOST_COLLECTED = 50_000  # ids that are fetched and sorted at once; those of a subject are in no order
_STEP = 250
_ID_CHARS = 36


@dataclass(frozen=True, slots=True)
class _Lead:
    """One or several indexes that have all emails that pass one filter, with `before` before their ids. `sizes`
    tell how many these are; there are none where all emails pass."""

    indexes: tuple[str, ...]
    sizes: tuple[Command, ...]
    before: str = ""

    @property
    def arguments(self) -> Command:
        """What `walk.lua` wants to know."""
        return (self.before, len(self.indexes), *self.indexes)


def page(session: Session, query: Query) -> Page:
    """One page, newest first."""
    found = list(islice(_matching(session, query), query.limit + 1))
    emails = found[: query.limit]
    return Page(emails=tuple(emails[::-1] if query.before else emails), has_more=len(found) > query.limit)


def _matching(session: Session, query: Query) -> Iterator[Email]:
    """All emails of the query from the cursor on, read in steps as they are asked for. Raises `EmailNotFound`, there or
    here, for a cursor that this account does not have."""
    leads = _leads(query)
    if len(leads) == 1 and not query.subject:  # nothing to choose, so nothing to ask before
        return _passing(query, set(), _walked(session, query, leads, asking=_cursor_question(query)))
    subject, sizes = _measured(session, query, leads)
    if query.subject and subject <= min(MOST_COLLECTED, *sizes):
        return _passing(query, _terms(query), _collected(session, query))
    leads = [lead for _, lead in sorted(zip(sizes, leads, strict=True), key=lambda pair: pair[0])]
    return _passing(query, set(), _walked(session, query, leads))


def _measured(session: Session, query: Query, leads: Sequence[_Lead]) -> tuple[int, list[int]]:
    """How many emails the subject leads to, and each other lead. In the same exchange the cursor is looked up."""
    questions = [command for lead in leads for command in lead.sizes]
    if query.subject:
        questions.append(("ZLEXCOUNT", *_subject_range(query)))
    cursor = _cursor_question(query)
    replies = session.ask_all([*questions, *cursor])
    _check_cursor(query, replies[len(questions) :])
    subject = replies[len(questions) - 1] if query.subject else 0
    return subject, [sum(replies.pop(0) for _ in lead.sizes) if lead.sizes else MOST_COLLECTED for lead in leads]


def _cursor_question(query: Query) -> list[Command]:
    """What to ask about the cursor, if there is one."""
    cursor = query.after or query.before
    return [("HGET", records.STATES, cursor)] if cursor else []


def _check_cursor(query: Query, replies: Sequence[Reply]) -> None:
    cursor = query.after or query.before or ""
    if replies and unreadable.read(cursor, lambda: records.account_of(replies[0])) != query.account:
        raise EmailNotFound(cursor)


def _leads(query: Query) -> list[_Lead]:
    """The indexes that list what the query asks for, but for its subject."""
    leads = [_with_term(query.account, term) for term in sorted(_terms(query))]
    if query.status or not leads:
        leads.append(_with_status(query.account, query.status))
    return leads


def _terms(query: Query) -> set[str]:
    wanted = {search_terms.of_address(query.to)} if query.to else set()
    return wanted | ({search_terms.of_tag(query.tag)} if query.tag else set())


def _with_term(account: str, term: str) -> _Lead:
    size = ("ZLEXCOUNT", f"postroom:terms:{account}", f"[{term}\0", f"({term}\1")
    return _Lead((f"terms:{account}",), (size,), before=f"{term}\0")


def _with_status(account: str, wanted: Collection[Status]) -> _Lead:
    """Claimed emails are listed by the status that they had before; the claims of all accounts are an index, too."""
    indexes = [f"listed:{status}:{account}" for status in sorted(set(wanted or Status) - {Status.SENDING})]
    if Status.SENDING in wanted:
        indexes.append("claims")
    sizes = [("HLEN" if index == "claims" else "ZCARD", f"postroom:{index}") for index in indexes]
    return _Lead(tuple(indexes), tuple(sizes) if wanted else ())


def _walked(
    session: Session, query: Query, leads: Sequence[_Lead], *, asking: Sequence[Command] = ()
) -> Iterator[Record]:
    """The records that all leads have, along the first; in the first exchange the cursor is looked up, if that is asked
    for."""
    above, below = bounds.of(query)
    step, wanted = query.limit + 1, [argument for lead in leads for argument in lead.arguments]
    while True:
        place = ("up" if query.before else "down", above, below, step)
        (last, found), *told = session.read_and_ask(scripts.WALK, [*place, *wanted], asking)
        _check_cursor(query, told)
        yield from (Record(*record) for record in found)
        if not last:
            return
        above, below, step = (last.decode(), below, _STEP) if query.before else (above, last.decode(), _STEP)
        asking = ()


def _collected(session: Session, query: Query) -> Iterator[Record]:
    """The records that the subject leads to."""
    above, below = (bound.encode() for bound in bounds.of(query))
    members: list[bytes] = session.ask("ZRANGEBYLEX", *_subject_range(query))
    ids = (member[-_ID_CHARS:] for member in members)
    wanted = sorted([one for one in ids if above < one < below], reverse=not query.before)
    start, step = 0, query.limit + 1
    while start < len(wanted):
        yield from (record for record in reading.read(session, wanted[start : start + step]) if record.state)
        start, step = start + step, _STEP


def _passing(query: Query, wanted: set[str], found: Iterable[Record]) -> Iterator[Email]:
    """The emails of these records that the query asks for. Those that were not found by the terms they must have are
    looked at for them."""
    subject = (query.subject or "").casefold()
    for _, email in records.readable(found, partial(records.email_of, listed=True)):
        if email.account != query.account or (query.status and email.life.status not in query.status):
            continue
        if subject and not email.subject.casefold().startswith(subject):
            continue
        if not wanted or wanted.issubset(records.terms(email)):
            yield email


def _subject_range(query: Query) -> tuple[Argument, ...]:
    beginning = records.subject_term(query.subject or "").encode()
    return f"postroom:terms:{query.account}", b"[" + beginning, b"(" + beginning + b"\xff"
