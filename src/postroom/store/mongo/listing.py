"""Pages of one account's emails: whatever is asked for, an index leads to it, the one that passes over the most."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from postroom.errors import EmailNotFound
from postroom.mail.email import Status
from postroom.store.base import Page, Query
from postroom.store.mongo import documents, reading
from postroom.store.mongo.connection import Connection
from postroom.store.mongo.lives import Document

_FEW = 100  # emails, soon looked at one by one; and how far to look when filters are compared
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
    if cursor and reading.find(here, query.account, cursor, {"account": 1}) is None:
        raise EmailNotFound(f"no email {cursor}")
    found = _found(here, query)
    shown = sorted(found[: query.limit], key=lambda document: document["_id"], reverse=True)
    return Page(emails=tuple(map(documents.email_of, shown)), has_more=len(found) > query.limit)


def _found(here: Connection, query: Query) -> list[Document]:
    """One email more than the page holds, if there are as many, from the cursor on."""
    everywhere = {"account": query.account, "_id": _span(query)}
    filters = _filters(query)
    order, at_most = [("_id", 1 if query.before else -1)], query.limit + 1
    leading = _leading(here, everywhere, filters, order)
    asked = {"$and": [everywhere, leading.asked, *(wish.asked for wish in filters if wish is not leading)]}
    if leading.in_order:
        return list(here.emails.find(asked, sort=order, limit=at_most, batch_size=at_most + 1, hint=leading.index))
    ids = [d["_id"] for d in here.emails.find(asked, {"_id": 1}, sort=order, limit=at_most, hint=leading.index)]
    return list(here.emails.find({"_id": {"$in": ids}}, sort=order, batch_size=at_most + 1))


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


def _leading(here: Connection, everywhere: Document, filters: list[_Filter], order: list[tuple[str, int]]) -> _Filter:
    """The filter by whose index to go: one that few emails pass, else the one that leaves the most emails out on the
    way to the hundredth that passes. A subject leads in no order, so beyond a few the newest emails are looked at."""
    if len(filters) == 1 and filters[0].in_order:
        return filters[0]
    hundredth: dict[str, _Filter] = {}
    for wish in filters:
        if not wish.in_order:
            whole_account = {"account": everywhere["account"], **wish.asked}
            if reading.count(here, whole_account, hint=wish.index, limit=_FEW) < _FEW:
                return wish
            continue
        passing = {**everywhere, **wish.asked}
        far = list(here.emails.find(passing, {"_id": 1}, sort=order, skip=_FEW - 1, limit=1, hint=wish.index))
        if not far:
            return wish
        hundredth[far[0]["_id"]] = wish
    if not hundredth:
        return _ANY_STATUS
    return hundredth[max(hundredth) if order[0][1] > 0 else min(hundredth)]


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
