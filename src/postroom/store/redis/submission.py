"""Accepting submissions, and finding out what became of them when the link broke meanwhile."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from redis.exceptions import ResponseError

from postroom.errors import KeyBusy, StoreError
from postroom.mail import milliseconds
from postroom.mail.email import Email
from postroom.store.base import Added, IdempotencyKey, KeyReused, Submission
from postroom.store.redis import faults
from postroom.store.redis.entries import entries
from postroom.store.redis.records import STATES
from postroom.store.redis.session import Command, Session
from postroom.store.redis.wire import Reply

TRIES = 20


class Addition:
    """Submissions to be stored, each all or not at all. `questions` come first and watch the idempotency keys; what is
    written then is one transaction, which Redis carries out only if none of these keys has changed since."""

    def __init__(self, submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime) -> None:
        self._submissions = submissions
        self._now = now
        self._wake_up_at = wake_up_at
        self._names = [_name(s.account, s.idempotency) if s.idempotency else "" for s in submissions]
        self._ids = [email.id for submission in submissions for email in submission.emails]

    @property
    def questions(self) -> list[Command]:
        """What must be known before: what is kept for the keys, and whether the emails are there."""
        asked: list[Command] = []
        if names := [name for name in self._names if name]:
            asked += [("WATCH", *names), ("MGET", *names)]
        if self._ids:
            asked.append(("HMGET", STATES, *self._ids))
        return asked

    def carry_out(self, session: Session) -> list[Added | KeyReused]:
        """Stores what is new, durably, and answers each; `session.answers` has the replies to the questions."""
        for _ in range(TRIES):
            answers, fresh = self._decided(session.answers)
            if self._stored(session, fresh):
                return answers
            session.answers = session.ask_all(self.questions)
        raise KeyBusy("the same idempotency keys are used by others all the time: try again")

    def _decided(self, told: Sequence[Reply]) -> tuple[list[Added | KeyReused], list[int]]:
        """The answer to each submission, and the positions of those that are to be stored."""
        kept = iter(told[1] if any(self._names) else ())
        first: dict[str, Submission] = {}
        answers: list[Added | KeyReused] = []
        fresh: list[int] = []
        for position, (name, submission) in enumerate(zip(self._names, self._submissions, strict=True)):
            answer = _earlier(next(kept), first.get(name), submission, self._now) if name else None
            if answer is None:
                first[name] = submission
                fresh.append(position)
                answer = Added(answer=submission.answer, replayed=False)
            answers.append(answer)
        self._check_ids(fresh, told[-1] if self._ids else ())
        return answers, fresh

    def _check_ids(self, fresh: Sequence[int], states: Sequence[bytes | None]) -> None:
        ids = [email.id for email in self._emails(fresh)]
        there = {email_id for email_id, state in zip(self._ids, states, strict=True) if state}
        if len(set(ids)) < len(ids) or not there.isdisjoint(ids):
            raise StoreError("an email with one of these ids is stored already")

    def _emails(self, positions: Sequence[int]) -> Iterator[Email]:
        return (email for position in positions for email in self._submissions[position].emails)

    def _stored(self, session: Session, fresh: Sequence[int]) -> bool:
        """Stores these and says so; or none of them, because a key that was watched has changed."""
        new = entries(self._emails(fresh), now=self._now, wake_up_at=self._wake_up_at)
        commands = (("MULTI",), *new, *self._keys(fresh), _pulse(self._now), ("EXEC",))
        done: list[Reply] | None = session.write(*commands, durable=True)[-1]
        if done is None:
            return False
        for reply in done:
            if isinstance(reply, ResponseError):
                raise faults.of_reply(session.address, reply) from reply
        return True

    def _keys(self, fresh: Sequence[int]) -> Iterator[Command]:
        for position in fresh:
            submission = self._submissions[position]
            if key := submission.idempotency:
                expires_at = milliseconds.of(key.expires_at)
                kept = f"{expires_at}\0{key.fingerprint}\0{submission.answer}"
                yield "SET", self._names[position], kept, "PXAT", expires_at


def look_up(session: Session, submissions: Sequence[Submission], *, now: datetime) -> list[Added | KeyReused] | None:
    """The answers to submissions that were stored although nobody heard of it; None unless all were, for then the
    write may still be on its way."""
    answers = [_found(session, submission, now) for submission in submissions]
    _wait_for_disk(session, now)
    known = [answer for answer in answers if answer is not None]
    return known if len(known) == len(answers) else None


def replay(session: Session, account: str, key: IdempotencyKey, *, now: datetime) -> str | None:
    """The answer that is kept for a key, if the payload is the same."""
    found = _read(session.ask("GET", _name(account, key)), key, now)
    if not isinstance(found, Added):
        return None
    _wait_for_disk(session, now)
    return found.answer


def _found(session: Session, submission: Submission, now: datetime) -> Added | KeyReused | None:
    ids = [email.id for email in submission.emails]
    if ids and any(session.ask("HMGET", STATES, *ids)):
        return Added(answer=submission.answer, replayed=False)
    key = submission.idempotency
    return _read(session.ask("GET", _name(submission.account, key)), key, now) if key else None


def _wait_for_disk(session: Session, now: datetime) -> None:
    """Returns when what was written before is on disk, too."""
    session.write(_pulse(now), durable=True)


def _pulse(now: datetime) -> Command:
    """A write, even where there is nothing else to write."""
    return "SET", "postroom:pulse", milliseconds.of(now)


def _earlier(
    kept: bytes | None, before: Submission | None, submission: Submission, now: datetime
) -> Added | KeyReused | None:
    """The answer that a submission with the same key has had: one that was stored, or one `before` in the same group.
    None if it is the first, or the key has expired."""
    key = submission.idempotency
    assert key is not None
    if before is None:
        return _read(kept, key, now)
    same = before.idempotency is not None and before.idempotency.fingerprint == key.fingerprint
    return Added(answer=before.answer, replayed=True) if same else KeyReused()


def _read(kept: bytes | None, key: IdempotencyKey, now: datetime) -> Added | KeyReused | None:
    if kept is None:
        return None
    expires_at, fingerprint, answer = kept.split(b"\0", 2)
    if int(expires_at) <= milliseconds.of(now):
        return None
    return Added(answer=answer.decode(), replayed=True) if fingerprint == key.fingerprint.encode() else KeyReused()


def _name(account: str, key: IdempotencyKey) -> str:
    return f"postroom:idempotency:{account}\0{key.endpoint}\0{key.key}"
