"""The life of an email as fields of its main document, and the update that replaces it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo.collection import Collection

from postroom.mail import lifecycle
from postroom.mail.email import Event, Kind, LastError, Life, Recipient, RecipientStatus, Status
from postroom.mail.lifecycle import FINAL
from postroom.store.mongo.document import SCHEMA, Document, without_gaps
from postroom.store.taking import PUT_OFF_FOR

_STATUS = {status.value: status for status in Status}  # four times as fast as to call the enum
_RECIPIENT_STATUS = {status.value: status for status in RecipientStatus}
_KIND = {kind.value: kind for kind in Kind}
_SHARE_AN_UPDATE = 100  # emails at most: each looks for its place among them all
_LINES_OF_AN_UPDATE = 5000  # recipients and events at most, of up to 2.5 KB each: an update must stay under 16 MiB
_KEPT: Document = {  # of a main document when its life is replaced, in this order; all else comes with the life
    "_id": "$_id",
    "schema": SCHEMA,
    "revision": {"$add": ["$revision", 1]},
    **{name: f"${name}" for name in ("account", "status", "lane", "subject", "body_size", "on_uncertain")},
}


def life_fields(life: Life, *, now: datetime, wake_up_at: datetime | None = None) -> Document:
    """All of an email that changes, None where there is nothing. `due_at` and `wake_up_at` are there only while it
    waits, `finished_at` only once it has ended: by them the indexes are partial."""
    due_at = lifecycle.due_at(life)
    return {
        "status": life.status.value,
        "scheduled_at": life.scheduled_at,
        "next_attempt_at": life.next_attempt_at,
        "expires_at": life.expires_at,
        "attempts": life.attempts,
        "crash_count": life.crash_count,
        "last_attempt_at": life.last_attempt_at,
        "sent_at": life.sent_at,
        "finished_at": now if life.status in FINAL else None,
        "possible_duplicate": life.possible_duplicate,
        "last_error": _of_last_error(life.last_error),
        "recipients": [_of_recipient(r) for r in life.recipients],
        "timeline": [_of_event(e) for e in life.timeline],
        "due_at": due_at,
        "wake_up_at": (wake_up_at or due_at) if due_at else None,
    }


def fields_of_new_life(life: Life, *, now: datetime, wake_up_at: datetime | None = None, **more: Any) -> Document:
    """What an email's document holds once this life has begun, None where there is nothing; nobody holds it any longer.
    `more` are other fields."""
    return {**life_fields(life, now=now, wake_up_at=wake_up_at), "lease": None, "wake_up_mark": None, **more}


def new_life(life: Life, *, now: datetime, wake_up_at: datetime | None = None, **more: Any) -> Document:
    """The update that replaces one email's life."""
    fields = fields_of_new_life(life, now=now, wake_up_at=wake_up_at, schema=SCHEMA, **more)
    return {
        "$set": {name: value for name, value in fields.items() if value is not None},
        "$unset": {name: "" for name, value in fields.items() if value is None},
        "$inc": {"revision": 1},
    }


def unchanged(document: Document) -> Document:
    """The filter for an email as it was read. Its revision is not enough: where a server forgot changes in a crash, or
    another primary never had them, others may have come to the same number, and one of them is a claim."""
    return {"_id": document["_id"], "revision": document["revision"], "lease": document.get("lease")}


def put_off_expired(emails: Collection[Document], ids: Sequence[str], *, now: datetime) -> None:
    """Puts off those of the emails that wait past their deadline: no other revision, for their lives stay the same."""
    expired = {"_id": {"$in": ids}, "due_at": {"$lte": now}, "expires_at": {"$lte": now}}
    later = now + PUT_OFF_FOR
    emails.update_many(expired, {"$set": {"due_at": later, "wake_up_at": later}}, hint="_id_")


def replacing(lives: Mapping[str, Document]) -> Iterator[tuple[Document, list[Document]]]:
    """The updates that replace the lives of many emails, given by their ids, each with its filter.

    The server plans and parses each update anew, which costs more than to carry it out; so emails share one, in which
    each finds its own new fields by its place among the ids.
    """
    for some in _sharing_an_update(lives):
        new = [without_gaps(lives[email_id]) for email_id in some]
        mine = {"$arrayElemAt": [{"$literal": new}, {"$indexOfArray": [{"$literal": some}, "$_id"]}]}
        yield {"_id": {"$in": some}}, [{"$replaceWith": {"$mergeObjects": [_KEPT, mine]}}]


def _sharing_an_update(lives: Mapping[str, Document]) -> Iterator[list[str]]:
    """The ids in groups."""
    group: list[str] = []
    lines = 0
    for email_id, fields in lives.items():
        more = len(fields["recipients"]) + len(fields["timeline"])
        if group and (len(group) == _SHARE_AN_UPDATE or lines + more > _LINES_OF_AN_UPDATE):
            yield group
            group, lines = [], 0
        group.append(email_id)
        lines += more
    if group:
        yield group


def life_of(document: Document) -> Life:
    """The life in a main document."""
    return Life(
        status=_STATUS[document["status"]],
        recipients=tuple([_recipient(r) for r in document.get("recipients", ())]),
        scheduled_at=document.get("scheduled_at"),
        next_attempt_at=document.get("next_attempt_at"),
        expires_at=document["expires_at"],
        attempts=document["attempts"],
        crash_count=document["crash_count"],
        last_attempt_at=document.get("last_attempt_at"),
        sent_at=document.get("sent_at"),
        possible_duplicate=document["possible_duplicate"],
        last_error=_last_error(document.get("last_error")),
        timeline=tuple([_event(e) for e in document.get("timeline", ())]),
    )


def _of_recipient(recipient: Recipient) -> Document:
    fields: Document = {
        "address": recipient.address,
        "kind": recipient.kind.value,
        "status": recipient.status.value,
        "smtp_code": recipient.smtp_code,
        "enhanced_code": recipient.enhanced_code,
        "message": recipient.message,
        "at": recipient.at,
    }
    return without_gaps(fields)


def _recipient(fields: Document) -> Recipient:
    return Recipient(
        address=fields["address"],
        kind=_KIND[fields["kind"]],
        status=_RECIPIENT_STATUS[fields["status"]],
        smtp_code=fields.get("smtp_code"),
        enhanced_code=fields.get("enhanced_code"),
        message=fields.get("message"),
        at=fields.get("at"),
    )


def _of_event(event: Event) -> Document:
    fields: Document = {"event": event.event, "at": event.at, "attempt": event.attempt}
    return {**fields, "detail": dict(event.detail)} if event.detail else fields


def _event(fields: Document) -> Event:
    return Event(event=fields["event"], at=fields["at"], attempt=fields["attempt"], detail=fields.get("detail", {}))


def _of_last_error(error: LastError | None) -> Document | None:
    if error is None:
        return None
    fields: Document = {
        "kind": error.kind,
        "message": error.message,
        "smtp_code": error.smtp_code,
        "enhanced_code": error.enhanced_code,
        "permanent": error.permanent,
        "at": error.at,
    }
    return without_gaps(fields)


def _last_error(fields: Document | None) -> LastError | None:
    if fields is None:
        return None
    return LastError(
        kind=fields["kind"],
        message=fields["message"],
        smtp_code=fields.get("smtp_code"),
        enhanced_code=fields.get("enhanced_code"),
        permanent=fields["permanent"],
        at=fields["at"],
    )
