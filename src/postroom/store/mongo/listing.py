"""Pages of one account's emails: whatever is asked for, an index leads to it, the one with the fewest entries."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from postroom.errors import EmailNotFound
from postroom.mail.email import Status
from postroom.store.base import Page, Query
from postroom.store.mongo import documents, reading
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.lives import Document

_COUNTED_AT_MOST = 10_000  # emails; what more pass is common, and a look at the newest emails soon finds some
_LAST_CHARACTER = "\U0010ffff"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Filter:
    """One wish of a query: what to ask, the index that leads there, and whether it leads in the order of the ids."""

    index: str
    asked: Document
    in_order: bool = True


_ANY_STATUS = _Filter("listed", {"status": {"$in": sorted(status.value for status in Status)}})


def page(here: Connection, query: Query) -> Page:
    """One page, newest first. Raises `EmailNotFound` for a cursor that this account does not have."""
    cursor = query.after or query.before
    if cursor and reading.find(here, query.account, cursor) is None:
        raise EmailNotFound(f"no email {cursor}")
    ids = _ids(here, query)
    has_more = len(ids) > query.limit
    shown = ids[: query.limit]
    found = here.emails.find({"_id": {"$in": shown}}, sort=[("_id", -1)], batch_size=len(shown) + 1)
    return Page(emails=tuple(documents.email_of(document) for document in found), has_more=has_more)


def _ids(here: Connection, query: Query) -> list[str]:
    """One id more than the page holds, if there are as many, from the cursor on."""
    everywhere = {"account": query.account, "_id": _span(query)}
    filters = _filters(query)
    leading = _leading(here, everywhere, filters)
    asked = {"$and": [everywhere, leading.asked, *(wish.asked for wish in filters if wish is not leading)]}
    order = [("_id", 1 if query.before else -1)]
    found = here.emails.find(asked, {"_id": 1}, sort=order, limit=query.limit + 1, hint=leading.index)
    return [document["_id"] for document in found]


def _filters(query: Query) -> list[_Filter]:
    """The query's wishes."""
    wanted: list[_Filter] = []
    if query.to:
        wanted.append(_Filter("by_term", {"search.terms": documents.address_term(query.to)}))
    if query.tag:
        wanted.append(_Filter("by_term", {"search.terms": f"#{query.tag}"}))
    if query.subject:
        beginning = query.subject.casefold()
        ahead = {"$gte": beginning, "$lt": beginning + _LAST_CHARACTER}
        wanted.append(_Filter("by_subject", {"search.subject": ahead}, in_order=False))
    if query.status:
        wanted.append(_Filter("listed", {"status": {"$in": sorted(status.value for status in query.status)}}))
    return wanted


def _leading(here: Connection, everywhere: Document, filters: list[_Filter]) -> _Filter:
    """The filter that fewest emails pass, so that few others have to be looked at. Those that many pass count as
    equal: then one whose index is in the order of the page is better, for it need not be read to its end."""
    if not filters:
        return _ANY_STATUS
    if len(filters) == 1 and filters[0].in_order:
        return filters[0]
    sizes = [
        reading.count(here, {**everywhere, **wish.asked}, hint=wish.index, limit=_COUNTED_AT_MOST) for wish in filters
    ]
    smallest = min(range(len(filters)), key=lambda place: (sizes[place], not filters[place].in_order))
    if sizes[smallest] < _COUNTED_AT_MOST or filters[smallest].in_order:
        return filters[smallest]
    return _ANY_STATUS


def _span(query: Query) -> Document:
    """The ids between which the page lies. They begin with the time of acceptance (RFC 9562 §5.7)."""
    above, below = query.before or "", query.after or "g"  # ids are hexadecimal
    if query.created_after:
        above = max(above, _id_from(query.created_after))
    if query.created_before:
        below = min(below, _id_from(query.created_before))
    return {"$gt": above, "$lt": below}


def _id_from(moment: datetime) -> str:
    """A text that sorts after all ids of earlier milliseconds, and before all of this or, within one, of the next."""
    milliseconds = -((_EPOCH - moment) // timedelta(milliseconds=1))
    digits = f"{max(milliseconds, 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"
