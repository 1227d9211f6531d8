"""Reading single emails and counting them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from postroom.mail import milliseconds
from postroom.mail.email import Email, Lane, Status
from postroom.store import unreadable
from postroom.store.base import AccountAndId
from postroom.store.redis import records, scripts
from postroom.store.redis.records import BODIES, Record
from postroom.store.redis.session import Session

UNFINISHED = (Status.SCHEDULED, Status.QUEUED, Status.SENDING, Status.RETRYING)


def get(session: Session, account: str, email_id: str) -> Email | None:
    """The whole email but for attachment contents."""
    found = record(session, account, email_id)
    return found and records.known_email_of(found)


def get_many(session: Session, wanted: Collection[AccountAndId]) -> Mapping[AccountAndId, Email]:
    """The whole emails of these that are there."""
    if not wanted:
        return {}
    found = zip(wanted, read(session, [email_id for _, email_id in wanted], whole=True), strict=True)
    return {key: records.known_email_of(one) for key, one in found if records.known_account_of(one) == key[0]}


def record(session: Session, account: str, email_id: str) -> Record | None:
    """The whole record, if this account has it."""
    [found] = read(session, [email_id], whole=True)
    return found if records.known_account_of(found) == account else None


def read(session: Session, ids: Sequence[str] | Sequence[bytes], *, whole: bool = False) -> list[Record]:
    """The records with these ids, each as it was at one moment; one that is not there has nothing but its id. Bodies,
    which never change, are left out unless `whole`."""
    if not whole:
        return [Record(*record) for record in session.read(scripts.READ, *ids)]
    found, bodies = session.read_and_ask(scripts.READ, ids, [("HMGET", BODIES, *ids)])
    return [Record._make((*record, body)) for record, body in zip(found, bodies, strict=True)]


def attachments(session: Session, email_id: str) -> list[bytes]:
    """The contents of an email's attachments, in order. Raises `Unreadable`."""
    reply = session.ask("HGETALL", f"postroom:attachments:{email_id}")
    contents = dict(zip(reply[::2], reply[1::2], strict=True))
    return unreadable.read(email_id, lambda: [contents[position] for position in sorted(contents, key=int)])


def counts(session: Session) -> Mapping[Status, int]:
    """How many emails stand in each status, none left out."""
    return dict(zip(Status, _counted(session, tuple(Status)), strict=True))


def backlog(session: Session) -> int:
    """How many emails wait or are claimed."""
    return sum(_counted(session, UNFINISHED))


def waiting_since(session: Session, now: datetime) -> Mapping[Lane, datetime]:
    """By lane, since when the email waits that is due longest."""
    found = session.ask_all([("ZRANGE", f"postroom:due:{lane}", 0, 0, "WITHSCORES") for lane in Lane])
    first = {lane: int(float(reply[1])) for lane, reply in zip(Lane, found, strict=True) if reply}
    return {lane: milliseconds.to_time(due) for lane, due in first.items() if due <= milliseconds.of(now)}


def _counted(session: Session, statuses: tuple[Status, ...]) -> list[int]:
    return [int(count or 0) for count in session.ask("HMGET", "postroom:counts", *[s.value for s in statuses])]
