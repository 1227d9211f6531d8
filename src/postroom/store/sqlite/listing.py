"""Pages of one account's emails: whatever is asked for, an index leads to it, the one with the fewest entries."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from postroom.errors import EmailNotFound
from postroom.mail.email import Email, Status
from postroom.store import bounds, search_terms, unreadable
from postroom.store.base import Page, Query
from postroom.store.sqlite import decoding, rows
from postroom.store.sqlite.operation import Operation
from postroom.store.sqlite.rows import Row, Value

_KNOWN = "SELECT 1 FROM emails WHERE id = ? AND account = ?"
_ROWS = f"""
    SELECT {rows.SELECTED} FROM emails WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC
"""  # noqa: S608  # column names
_IN_STATUS = """
    SELECT d.id FROM emails AS d INDEXED BY emails_listed
    WHERE d.status = :status AND d.account = :account AND d.id > :above AND d.id < :below
"""
_HAS_STATUS = """
    EXISTS (SELECT 1 FROM emails WHERE id = d.id AND +status IN (SELECT value FROM json_each(:statuses)))
"""
_WITH_TERM = """
    SELECT d.id FROM terms AS d
    WHERE d.account = :account AND d.term = :{name} AND d.id > :above AND d.id < :below
"""
_HAS_TERM = "EXISTS (SELECT 1 FROM terms WHERE account = :account AND term = :{name} AND id = d.id)"
_WITH_SUBJECT = """
    SELECT d.id FROM emails AS d INDEXED BY emails_by_subject
    WHERE d.account = :account AND d.subject_folded = :whole_subject AND d.id > :above AND d.id < :below
"""
_WITH_ANY_SUBJECT = """
    SELECT d.id FROM emails AS d INDEXED BY emails_by_subject
    WHERE d.account = :account AND d.subject_folded >= :subject AND d.subject_folded < :subject_end
    AND d.id > :above AND d.id < :below
"""
_WHOLE_SUBJECTS = """
    WITH RECURSIVE found (subject) AS (
        SELECT min(subject_folded) FROM emails INDEXED BY emails_by_subject
        WHERE account = :account AND subject_folded >= :subject AND subject_folded < :subject_end
        UNION ALL
        SELECT (
            SELECT min(subject_folded) FROM emails INDEXED BY emails_by_subject
            WHERE account = :account AND subject_folded > found.subject AND subject_folded < :subject_end
        ) FROM found WHERE found.subject IS NOT NULL
    )
    SELECT subject FROM found WHERE subject IS NOT NULL LIMIT :most_subjects
"""
_HAS_SUBJECT = """
    EXISTS (SELECT 1 FROM emails
            WHERE id = d.id AND +subject_folded >= :subject AND +subject_folded < :subject_end)
"""
_COUNTED_AT_MOST = 10_000
_MOST_SUBJECTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    """One filter of a query: the statement that lists what passes it, and the condition that checks it elsewhere.

    The statement is run with each of the `runs` added to the query's values; together they bring everything.
    """

    source: str
    condition: str
    values: Mapping[str, Value]
    runs: Sequence[Mapping[str, Value]] = ({},)


def page(query: Query) -> Operation[Page]:
    """One page, newest first. Emails that cannot be read are left out; nobody could go on from a page without any."""

    def question(connection: sqlite3.Connection) -> Page:
        _check_cursor(connection, query)
        here = query
        while True:
            found = _ids(connection, here)
            ids, has_more = found[: query.limit], len(found) > query.limit
            emails = _emails(connection, ids)
            if emails or not has_more:
                return Page(emails=emails, has_more=has_more)
            here = replace(here, before=ids[-1]) if query.before else replace(here, after=ids[-1])

    return question


def _emails(connection: sqlite3.Connection, ids: Sequence[str]) -> tuple[Email, ...]:
    found = map(Row._make, connection.execute(_ROWS, (rows.to_json(ids),)))
    return tuple([email for _, email in unreadable.readable(found, decoding.email_of, rows.id_of)])


def _check_cursor(connection: sqlite3.Connection, query: Query) -> None:
    cursor = query.after or query.before
    if cursor and connection.execute(_KNOWN, (cursor, query.account)).fetchone() is None:
        raise EmailNotFound(cursor)


def _ids(connection: sqlite3.Connection, query: Query) -> list[str]:
    """One id more than the page holds, if there are as many, from the cursor on."""
    filters = _filters(connection, query)
    above, below = bounds.of(query)
    values: dict[str, Value] = {"account": query.account, "limit": query.limit + 1, "above": above, "below": below}
    for filter_ in filters:
        values.update(filter_.values)
    leading = _rarest(connection, filters, values)
    conditions = "".join(f" AND {filter_.condition}" for filter_ in filters if filter_ is not leading)
    statement = f"{leading.source}{conditions} ORDER BY d.id {'ASC' if query.before else 'DESC'} LIMIT :limit"
    found = [email_id for run in leading.runs for (email_id,) in connection.execute(statement, {**values, **run})]
    return sorted(found, reverse=not query.before)[: query.limit + 1]


def _filters(connection: sqlite3.Connection, query: Query) -> list[_Filter]:
    """The filters of the query; all emails, by status, if nothing."""
    wanted: list[_Filter] = []
    if query.to:
        wanted.append(_with_term("recipient", search_terms.of_address(query.to)))
    if query.tag:
        wanted.append(_with_term("tag", search_terms.of_tag(query.tag)))
    if query.subject:
        wanted.append(_with_subject(connection, query.account, query.subject.casefold()))
    if query.status or not wanted:
        wanted.append(_in_status(query.status or Status))
    return wanted


def _with_term(name: str, term: str) -> _Filter:
    return _Filter(source=_WITH_TERM.format(name=name), condition=_HAS_TERM.format(name=name), values={name: term})


def _with_subject(connection: sqlite3.Connection, account: str, beginning: str) -> _Filter:
    """Few whole subjects, as of a newsletter, are listed one by one, each newest first; many must be sorted."""
    span: dict[str, Value] = {"subject": beginning, "subject_end": search_terms.behind(beginning)}
    asked = {"account": account, "most_subjects": _MOST_SUBJECTS + 1, **span}
    runs = [{"whole_subject": subject} for (subject,) in connection.execute(_WHOLE_SUBJECTS, asked)]
    if len(runs) > _MOST_SUBJECTS:
        return _Filter(source=_WITH_ANY_SUBJECT, condition=_HAS_SUBJECT, values=span)
    return _Filter(source=_WITH_SUBJECT, condition=_HAS_SUBJECT, values=span, runs=runs)


def _in_status(statuses: Iterable[Status]) -> _Filter:
    names = sorted({status.value for status in statuses})
    runs = tuple({"status": name} for name in names)
    return _Filter(source=_IN_STATUS, condition=_HAS_STATUS, values={"statuses": rows.to_json(names)}, runs=runs)


def _rarest(connection: sqlite3.Connection, filters: list[_Filter], values: Mapping[str, Value]) -> _Filter:
    """The filter that fewest emails pass, so that few others have to be looked at; counting ends early."""
    if len(filters) == 1:
        return filters[0]

    def size(filter_: _Filter) -> int:
        statement = f"SELECT count(*) FROM ({filter_.source} LIMIT {_COUNTED_AT_MOST})"  # noqa: S608  # constants
        return sum(connection.execute(statement, {**values, **run}).fetchone()[0] for run in filter_.runs)

    return min(filters, key=size)
