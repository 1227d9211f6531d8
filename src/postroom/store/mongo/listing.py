"""Pages of one account's emails: an index leads to ids, the one that passes over the most, and the rest is looked up.

Only the status stands with the emails; what else can be asked for stands with their contents.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pymongo.collection import Collection

from postroom.errors import EmailNotFound
from postroom.mail.email import Email
from postroom.store import bounds, search_terms
from postroom.store.base import Page, Query
from postroom.store.mongo import documents, reading
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.document import Document

_FEW = 100  # emails: how far to look when filters are compared
_SOME = 2000  # index keys, soon looked through; and the most to look up at a time
_MANY = 50_000  # index keys; to put more in order takes longer than to look at all emails
_ANY = "newest"  # the index that leads to all emails
_LIFE_NOT_SHOWN = {"timeline": 0}
_NOT_SHOWN = {"text": 0, "html": 0, "headers": 0, "search": 0, "idempotency": 0}


@dataclass(frozen=True, slots=True)
class _Filter:
    """One filter of a query: what to ask, of which collection, and the index that leads to the ids in their order;
    `found`, those that it leads to first, or all, if they are known already."""

    collection: str
    index: str
    asked: Document
    found: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class _Span:
    """The ids of an account between which to look, and from which end."""

    account: str
    above: str
    below: str
    upwards: bool

    @property
    def asked(self) -> Document:
        return {"account": self.account, "_id": {"$gt": self.above, "$lt": self.below}}

    @property
    def order(self) -> list[tuple[str, int]]:
        return [("_id", 1 if self.upwards else -1)]

    def ordered(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that lie between."""
        return sorted((one for one in ids if self.above < one < self.below), reverse=not self.upwards)

    def beyond(self, email_id: str) -> "_Span":
        """What is left of it behind that id."""
        return replace(self, above=email_id) if self.upwards else replace(self, below=email_id)


def page(connection: Connection, query: Query) -> Page:
    """One page, newest first. Raises `EmailNotFound` for a cursor that this account does not have."""
    cursor = query.after or query.before
    while True:
        found = _found(connection, query)
        ids, has_more = found[: query.limit], len(found) > query.limit
        emails = _emails(connection, query, ids, cursor)
        if emails or not has_more:
            return Page(emails=emails, has_more=has_more)
        query = replace(query, before=ids[-1]) if query.before else replace(query, after=ids[-1])
        cursor = None


def _emails(connection: Connection, query: Query, ids: Sequence[str], cursor: str | None) -> tuple[Email, ...]:
    """These emails, newest first; one that was pruned meanwhile, has got another status or cannot be read is left
    out. The cursor, if there is one, is looked up with them, which saves an exchange: `EmailNotFound`."""
    main = _documents(connection.emails, [*ids, cursor] if cursor else ids, _LIFE_NOT_SHOWN)
    if cursor and main.get(cursor, {}).get("account") != query.account:
        raise EmailNotFound(cursor)
    content = _documents(connection.contents, ids, _NOT_SHOWN)
    newest_first = sorted(
        (i for i in main.keys() & content.keys() if not query.status or main[i]["status"] in query.status), reverse=True
    )
    found = reading.readable([main[i] for i in newest_first], lambda d: documents.email_of(d, content[d["_id"]]))
    return tuple([email for _, email in found])


def _documents(
    collection: Collection[Document], ids: Sequence[str], shown: Mapping[str, int]
) -> Mapping[str, Document]:
    """Those with these ids, by id."""
    if not ids:
        return {}
    found = collection.find({"_id": {"$in": list(ids)}}, shown, batch_size=len(ids) + 1)
    return {document["_id"]: document for document in found}


def _found(connection: Connection, query: Query) -> list[str]:
    """The ids of one email more than the page holds, if there are as many, from the cursor on. What one filter leads to
    is looked up by the others, more and more at a time. Which one leads is chosen when the first has not sufficed."""
    look_at = at_most = query.limit + 1
    span = _Span(query.account, *bounds.of(query), upwards=bool(query.before))
    filters = _filters(connection, query, span)
    leading, chosen = filters[0], len(filters) == 1
    if chosen and leading.found is not None:
        return list(leading.found)
    found: list[str] = []
    while True:
        others = [filter_ for filter_ in filters if filter_ is not leading]
        ids = _ids(connection, leading.collection, {**span.asked, **leading.asked}, span, look_at, hint=leading.index)
        passing = ids
        for filter_ in others if passing else ():
            among = {"account": span.account, "_id": {"$in": passing}, **filter_.asked}
            index = _ANY if filter_.index == "by_subject" else filter_.index
            passing = _ids(connection, filter_.collection, among, span, look_at, hint=index)
        found += passing
        if len(found) >= at_most or len(ids) < look_at:
            return found[:at_most]
        span, look_at = span.beyond(ids[-1]), min(4 * look_at, _SOME)
        leading, chosen = leading if chosen else _leading(connection, span, filters), True


def _ids(connection: Connection, collection: str, which: Document, span: _Span, limit: int, *, hint: str) -> list[str]:
    """The first ids of what the filter finds there; index keys say it all."""
    found = connection.database[collection].find(
        which, {"_id": 1}, sort=span.order, limit=limit, batch_size=limit + 1, hint=hint
    )
    return [document["_id"] for document in found]


def _filters(connection: Connection, query: Query, span: _Span) -> list[_Filter]:
    """The query's filters, what may well pass over the most first; at least one."""
    wanted: list[_Filter] = []
    if query.to:
        wanted.append(_Filter("contents", "by_term", {"search.terms": search_terms.of_address(query.to)}))
    if query.tag:
        wanted.append(_Filter("contents", "by_term", {"search.terms": search_terms.of_tag(query.tag)}))
    if query.subject:
        beginning = _beginning(connection, span, query.subject.casefold(), query.limit + 1)
        wanted.insert(0 if beginning.index == "by_subject" else len(wanted), beginning)
    if query.status:
        statuses = {"$in": sorted(status.value for status in query.status)}
        wanted.append(_Filter("emails", "listed", {"status": statuses}))
    return wanted or [_Filter("contents", _ANY, {})]


def _beginning(connection: Connection, span: _Span, beginning: str, at_most: int) -> _Filter:
    """The filter for a subject's beginning. Where it is common, a page soon comes up among the newest emails; where few
    have it, or all of them long ago, these are put in the order of their ids."""
    # In a group, so that the server does not take it for a range of subjects, and then look for that in each key anew.
    pattern = f"(?:^{re.escape(beginning)})".replace("\0", r"\x00")
    among_all = _Filter("contents", _ANY, {"search.subject": {"$regex": pattern}})
    ahead = {"search.subject": {"$gte": beginning, "$lt": search_terms.behind(beginning)}}
    by_itself = _Filter("contents", "by_subject", ahead)
    all_of_them = _all(connection, span.account, by_itself, at_most)
    if all_of_them is not None:
        return replace(by_itself, found=span.ordered(all_of_them))
    if soon := _soon(connection, span, among_all, at_most, _FEW):
        return replace(among_all, found=soon)
    if _fewer(connection, span.account, by_itself, _SOME):
        return by_itself
    if soon := _soon(connection, span, among_all, at_most, _SOME):
        return replace(among_all, found=soon)
    return by_itself if _fewer(connection, span.account, by_itself, _MANY) else among_all


def _all(connection: Connection, account: str, filter_: _Filter, limit: int) -> list[str] | None:
    """The ids of all emails of the account that pass, if they are fewer than that."""
    emails = connection.database[filter_.collection]
    found = emails.find(
        {"account": account, **filter_.asked}, {"_id": 1}, limit=limit, batch_size=limit + 1, hint=filter_.index
    )
    ids = [document["_id"] for document in found]
    return ids if len(ids) < limit else None


def _soon(connection: Connection, span: _Span, filter_: _Filter, at_most: int, look_at: int) -> list[str]:
    """The first ids that pass among the next emails, if they are as many as wanted."""
    steps: list[Document] = [
        {"$match": span.asked},
        {"$sort": dict(span.order)},
        {"$limit": look_at},
        {"$match": filter_.asked},
        {"$limit": at_most},
        {"$project": {"_id": 1}},
    ]
    found = connection.database[filter_.collection].aggregate(steps, hint=filter_.index, batchSize=at_most + 1)
    ids = [document["_id"] for document in found]
    return ids if len(ids) == at_most else []


def _fewer(connection: Connection, account: str, filter_: _Filter, limit: int) -> bool:
    """Whether fewer emails of the account than that pass."""
    passing = {"account": account, **filter_.asked}
    return reading.count(connection, passing, collection=filter_.collection, hint=filter_.index, limit=limit) < limit


def _leading(connection: Connection, span: _Span, filters: Sequence[_Filter]) -> _Filter:
    """The filter by whose index to go: one that few emails pass, else the one that leaves the most emails out on the
    way to the hundredth that passes."""
    hundredth: dict[str, _Filter] = {}
    for filter_ in filters:
        if filter_.index != _ANY:
            far = _nth(connection, span, filter_, _FEW)
            if far is None:
                return filter_
            hundredth[far] = filter_
    return hundredth[max(hundredth) if span.upwards else min(hundredth)]


def _nth(connection: Connection, span: _Span, filter_: _Filter, n: int) -> str | None:
    """The id of the n-th email that passes, if there are as many."""
    emails = connection.database[filter_.collection]
    passing = {**span.asked, **filter_.asked}
    found = emails.find(passing, {"_id": 1}, sort=span.order, skip=n - 1, limit=1, hint=filter_.index)
    return next((document["_id"] for document in found), None)
