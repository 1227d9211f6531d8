"""Emails as documents, made to be read by people too: dates are dates, and absent members are left out. What becomes of
an email stands in one document, what was submitted in another, which never changes: so a change costs little."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar

from postroom.errors import Unreadable
from postroom.mail.email import Address, Attachment, Email, Json, Lane, OnUncertain
from postroom.store import search_terms, unreadable
from postroom.store.mongo import lives
from postroom.store.mongo.document import SCHEMA, Document, without_gaps

Value = TypeVar("Value")

CHUNK = 4 * 1024 * 1024  # bytes; a document must stay under 16 MiB
_LARGE = 4096  # characters

_LANE = {lane.value: lane for lane in Lane}
_ON_UNCERTAIN = {choice.value: choice for choice in OnUncertain}


def of_email(email: Email, *, now: datetime, wake_up_at: datetime | None = None) -> Document:
    """The main document. While the email waits, the sweep publishes it at `wake_up_at`, by default when it is due."""
    return without_gaps(
        {
            "_id": email.id,
            "schema": SCHEMA,
            "revision": 1,
            "account": email.account,
            "status": None,  # with the rest of its life below; named here so that it is shown early
            "lane": email.lane.value,
            "subject": email.subject,
            "body_size": _body_size(email),
            "on_uncertain": email.on_uncertain.value,
            **lives.life_fields(email.life, now=now, wake_up_at=wake_up_at),
        }
    )


def of_content(email: Email) -> Document:
    """The document of what was submitted, but for what the main document has of it and for attachment contents."""
    terms = search_terms.of_email([recipient.address for recipient in email.life.recipients], email.tags)
    return without_gaps(
        {
            "_id": email.id,
            "schema": SCHEMA,
            "account": email.account,
            "from": _of_address(email.sender),
            "to": [_of_address(a) for a in email.to],
            "cc": [_of_address(a) for a in email.cc],
            "bcc": [_of_address(a) for a in email.bcc],
            "reply_to": [_of_address(a) for a in email.reply_to],
            "tags": [{"name": name, "value": value} for name, value in email.tags],
            "metadata": _of_metadata(email.metadata),
            "attachments": [_of_attachment(a) for a in email.attachments],
            "message_id": email.message_id,
            "key_id": email.key_id,
            "idempotency_key": email.idempotency_key,
            "created_at": email.created_at,
            "max_attempts": email.max_attempts,
            "headers": [{"name": name, "value": value} for name, value in email.headers],
            "text": email.text,
            "html": email.html,
            "search": {
                "terms": sorted(terms),
                "subject": email.subject.casefold(),
            },
        }
    )


def of_attachments(email: Email) -> Iterator[Document]:
    """The documents of an email's attachment contents: each in chunks, at least one, in the order of their ids."""
    for position, attachment in enumerate(email.attachments):
        content = attachment.content or b""
        for part, start in enumerate(range(0, max(len(content), 1), CHUNK)):
            yield {
                "_id": f"{email.id}/{position:04}/{part:04}",
                "schema": SCHEMA,
                "position": position,
                "content": content[start : start + CHUNK],
            }


def attachments_of(email_id: str) -> Document:
    """The filter for the attachment contents of an email."""
    return {"_id": {"$gt": f"{email_id}/", "$lt": f"{email_id}0"}}  # in ASCII, 0 follows the slash


def known_email_of(document: Document, content: Document) -> Email:
    """The email that somebody asks for. Raises `Unreadable` when it cannot be read."""
    return read(document, lambda: email_of(document, content))


def read(document: Document, reader: Callable[[], Value]) -> Value:
    """What the reader makes of this document. Raises `Unreadable` when it is not as it should be."""
    schema = document.get("schema", SCHEMA)
    if not isinstance(schema, int | float) or schema > SCHEMA:
        raise Unreadable(
            f"email {document['_id']} was written by a newer Postroom (schema {schema}, this one knows {SCHEMA}): "
            "upgrade Postroom"
        )
    return unreadable.read(document["_id"], reader)


def email_of(document: Document, content: Document) -> Email:
    """The email of a main document and what was submitted."""
    return Email(
        id=document["_id"],
        account=document["account"],
        key_id=content.get("key_id"),
        message_id=content["message_id"],
        created_at=content["created_at"],
        sender=_address(content["from"]),
        to=_addresses(content.get("to", ())),
        cc=_addresses(content.get("cc", ())),
        bcc=_addresses(content.get("bcc", ())),
        reply_to=_addresses(content.get("reply_to", ())),
        subject=document["subject"],
        html=content.get("html"),
        text=content.get("text"),
        headers=tuple([(header["name"], header["value"]) for header in content.get("headers", ())]),
        attachments=tuple([_attachment(a) for a in content.get("attachments", ())]),
        tags=tuple([(tag["name"], tag["value"]) for tag in content.get("tags", ())]),
        metadata=_metadata(content.get("metadata", {})),
        lane=_LANE[document["lane"]],
        max_attempts=content["max_attempts"],
        on_uncertain=_ON_UNCERTAIN[document["on_uncertain"]],
        idempotency_key=content.get("idempotency_key"),
        life=lives.life_of(document),
    )


def _body_size(email: Email) -> int | None:
    """Bytes of the bodies, by which a worker sees how many emails it can read at once; None for small ones."""
    bodies = [body for body in (email.text, email.html) if body]
    if sum(map(len, bodies)) < _LARGE:
        return None
    return sum(len(body.encode()) for body in bodies)


def _of_address(address: Address) -> Document:
    return {"address": address.addr, "name": address.name} if address.name else {"address": address.addr}


def _address(fields: Document) -> Address:
    return Address(fields["address"], fields.get("name", ""))


def _addresses(listed: Iterable[Document]) -> tuple[Address, ...]:
    return tuple([_address(fields) for fields in listed]) if listed else ()


def _of_attachment(attachment: Attachment) -> Document:
    return without_gaps(
        {
            "filename": attachment.filename,
            "content_type": attachment.content_type,
            "content_id": attachment.content_id,
            "size": attachment.size,
        }
    )


def _attachment(fields: Document) -> Attachment:
    return Attachment(
        filename=fields.get("filename"),
        content_type=fields["content_type"],
        content_id=fields.get("content_id"),
        size=fields["size"],
        content=None,
    )


def _of_metadata(metadata: Mapping[str, Json]) -> Document | str | None:
    """As it is where BSON can hold it unchanged, else as JSON text."""
    plain = dict(metadata)
    if not plain:
        return None
    return plain if _fits(plain) else json.dumps(plain)


def _metadata(stored: Document | str) -> Mapping[str, Json]:
    metadata: Mapping[str, Json] = json.loads(stored) if isinstance(stored, str) else stored
    return metadata


def _fits(value: Json) -> bool:
    """Whether BSON, MongoDB and the driver return this value as it was: no great numbers, no names with a meaning."""
    if isinstance(value, dict):
        return all(name and not set(name) & {"$", ".", "\0"} and _fits(member) for name, member in value.items())
    if isinstance(value, list):
        return all(_fits(member) for member in value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63
