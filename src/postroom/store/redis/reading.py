"""Reading single emails and counting them."""

from collections.abc import Collection, Mapping

from postroom.mail.email import Email, Status
from postroom.store.base import AccountAndId
from postroom.store.redis import records
from postroom.store.redis.records import WHOLE, Record
from postroom.store.redis.talk import Talk

UNFINISHED = (Status.SCHEDULED, Status.QUEUED, Status.SENDING, Status.RETRYING)


def get(talk: Talk, account: str, email_id: str) -> Email | None:
    """The whole email but for attachment contents."""
    found = record(talk, account, email_id)
    return found and records.email_of(found)


def get_many(talk: Talk, wanted: Collection[AccountAndId]) -> Mapping[AccountAndId, Email]:
    """The whole emails of these that are there."""
    replies = talk.ask_all([("HMGET", f"postroom:email:{email_id}", *WHOLE) for _, email_id in wanted])
    found = {key: Record(key[1].encode(), *fields) for key, fields in zip(wanted, replies, strict=True)}
    return {key: records.email_of(one) for key, one in found.items() if one.account == key[0].encode()}


def record(talk: Talk, account: str, email_id: str) -> Record | None:
    """The whole record, if this account has it."""
    fields = talk.ask("HMGET", f"postroom:email:{email_id}", *WHOLE)
    found = Record(email_id.encode(), *fields)
    return found if found.account == account.encode() else None


def attachments(talk: Talk, email_id: str) -> list[bytes]:
    """The contents of an email's attachments, in order."""
    reply = talk.ask("HGETALL", f"postroom:attachments:{email_id}")
    contents = {int(position): content for position, content in zip(reply[::2], reply[1::2], strict=True)}
    return [contents[position] for position in sorted(contents)]


def counts(talk: Talk) -> Mapping[Status, int]:
    """How many emails stand in each status, none left out."""
    return dict(zip(Status, _counted(talk, tuple(Status)), strict=True))


def backlog(talk: Talk) -> int:
    """How many emails wait or are claimed."""
    return sum(_counted(talk, UNFINISHED))


def _counted(talk: Talk, statuses: tuple[Status, ...]) -> list[int]:
    return [int(count or 0) for count in talk.ask("HMGET", "postroom:counts", *[s.value for s in statuses])]
