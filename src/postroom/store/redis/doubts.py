"""Claims in doubt: what a call may have claimed, and nobody has heard of, is given back as if never claimed.

Such a claim would lapse as if its worker had crashed, and the third such fails the email. It is found by its token,
among the claims whose leases end when its own does.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from postroom.errors import StoreError
from postroom.mail import milliseconds
from postroom.store import unreadable
from postroom.store.redis import claims, records
from postroom.store.redis.records import LIVES, Record
from postroom.store.redis.session import Session
from postroom.store.taking import Taking

MOST = 100  # each stands for a call that took seconds to fail; what is beyond them lapses
_ID_BYTES = 36  # of each id in a row


class Doubts:
    """What one store may have claimed. Safe for threads and forks: nothing in it is locked."""

    def __init__(self) -> None:
        self._open: deque[Taking] = deque(maxlen=MOST)

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, taking: Taking) -> None:
        """Notes that this was asked for, and that nobody works on what it claims."""
        self._open.append(taking)

    @contextmanager
    def added(self, taking: Taking, *, after: type[StoreError]) -> Iterator[None]:
        """Notes the same, should such an error come up meanwhile."""
        try:
            yield
        except after:
            self.add(taking)
            raise

    def give_back(self, session: Session, *, now: datetime) -> None:
        """Gives back what was claimed. Redis may get a request after we have given it up: so what is not found is kept
        for the next time, until its lease has ended. Raises `StoreError`; then all is kept."""
        held = [taking for taking in self._taken_out() if taking.until > now]
        try:
            rows = session.ask_all([_rows_of(taking) for taking in held])
            held = [taking for taking, found in zip(held, rows, strict=True) if not _give_back(session, found, taking)]
        finally:
            self._open.extend(held)

    def _taken_out(self) -> list[Taking]:
        """All of them, for this thread alone."""
        taken: list[Taking] = []
        try:
            while True:
                taken.append(self._open.popleft())
        except IndexError:
            return taken


def _rows_of(taking: Taking) -> tuple[str, str, int, int]:
    until = milliseconds.of(taking.until)
    return "ZRANGEBYSCORE", "postroom:leases", until, until


def _give_back(session: Session, rows: Sequence[bytes], taking: Taking) -> bool:
    """Makes the emails in these rows that it holds what they were before; tells whether there were any."""
    ids = [row[at : at + _ID_BYTES] for row in rows for at in range(0, len(row), _ID_BYTES)]
    if not ids:
        return False
    held, packed = session.ask_all([("HMGET", key, *ids) for key in ("postroom:claims", LIVES)])
    mine = [
        Record(email_id, None, records.held(claim).state, life, submitted=b"")
        for email_id, claim, life in zip(ids, held, packed, strict=True)
        if claim and claim.startswith(f"{taking.token}\0".encode())
    ]
    if not mine:
        return False
    due_at = dict.fromkeys([record.id for record in mine], milliseconds.of(taking.now + unreadable.PAUSE))
    due_at |= {record.id: due for record, due in records.readable(mine, _due_at)}
    claims.give_back(session, due_at, taking.token)
    return True


def _due_at(record: Record) -> int:
    due_at = records.due_at(records.life_of(record))
    return int(due_at)
