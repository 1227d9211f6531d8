"""Accepting submissions, and finding out what became of them when the link broke meanwhile."""

from collections.abc import Sequence
from datetime import datetime

from redis.exceptions import ResponseError

from postroom.store.base import Added, IdempotencyKey, KeyReused, Submission
from postroom.store.redis import faults, records, scripts, times
from postroom.store.redis.talk import Argument, Command, Reply, Talk


def add(
    talk: Talk, submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime
) -> list[Added | KeyReused]:
    """Stores submissions with the emails in them, all by one durable write."""
    arguments = _arguments(submissions, now=now, wake_up_at=wake_up_at)
    attachments = list(_attachments(submissions))
    outcomes = (
        _add_with(talk, attachments, arguments) if attachments else talk.run(scripts.ADD, *arguments, durable=True)
    )
    return [_answer(submission, *outcome) for submission, outcome in zip(submissions, outcomes, strict=True)]


def look_up(talk: Talk, submissions: Sequence[Submission], *, now: datetime) -> list[Added | KeyReused] | None:
    """The answers to submissions that were stored although nobody heard of it; None unless all were, for then the
    write may still be on its way."""
    answers = [_found(talk, submission, now) for submission in submissions]
    _wait_for_disk(talk, now)
    known = [answer for answer in answers if answer is not None]
    return known if len(known) == len(answers) else None


def replay(talk: Talk, account: str, key: IdempotencyKey, *, now: datetime) -> str | None:
    """The answer that is kept for a key, if the payload is the same."""
    found = _kept(talk, account, key, now)
    if not isinstance(found, Added):
        return None
    _wait_for_disk(talk, now)
    return found.answer


def _wait_for_disk(talk: Talk, now: datetime) -> None:
    """Returns when what was written before is on disk, too."""
    talk.write(("SET", "postroom:pulse", times.to_ms(now)), durable=True)


def _arguments(submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime) -> list[Argument]:
    arguments: list[Argument] = [times.to_ms(now), len(submissions)]
    for submission in submissions:
        key = submission.idempotency
        named = (key.endpoint, key.key, key.fingerprint, submission.answer) if key else ("", "", "", "")
        expires_at = times.to_ms(key.expires_at) if key else 0
        arguments += [submission.account, *named, expires_at, len(submission.emails)]
        for email in submission.emails:
            arguments += records.submitted_arguments(email, now=now, wake_up_at=wake_up_at)
    return arguments


def _attachments(submissions: Sequence[Submission]) -> list[Command]:
    """Commands that store the contents. Large strings do not go through Lua, which would copy them; the script takes
    back what it does not want."""
    return [
        ("HSETNX", f"postroom:attachments:{email.id}", position, attachment.content or b"")
        for submission in submissions
        for email in submission.emails
        for position, attachment in enumerate(email.attachments)
    ]


def _add_with(talk: Talk, attachments: Sequence[Command], arguments: Sequence[Argument]) -> Reply:
    script: Command = ("EVAL", scripts.ADD.source, 0, *arguments)  # a transaction cannot fall back from EVALSHA
    (*_, done) = talk.write(("MULTI",), *attachments, script, ("EXEC",), durable=True)
    if isinstance(done[-1], ResponseError):
        raise faults.of_reply(talk.address, done[-1]) from done[-1]
    return done[-1]


def _answer(submission: Submission, outcome: bytes, earlier: bytes = b"") -> Added | KeyReused:
    if outcome == b"reused":
        return KeyReused()
    if outcome == b"replayed":
        return Added(answer=earlier.decode(), replayed=True)
    return Added(answer=submission.answer, replayed=False)


def _found(talk: Talk, submission: Submission, now: datetime) -> Added | KeyReused | None:
    if talk.ask("EXISTS", *[f"postroom:email:{email.id}" for email in submission.emails]):
        return Added(answer=submission.answer, replayed=False)
    key = submission.idempotency
    return _kept(talk, submission.account, key, now) if key else None


def _kept(talk: Talk, account: str, key: IdempotencyKey, now: datetime) -> Added | KeyReused | None:
    name = f"postroom:idempotency:{account}\0{key.endpoint}\0{key.key}"
    fingerprint, answer, expires_at = talk.ask("HMGET", name, "fingerprint", "answer", "expires_at")
    if expires_at is None or int(expires_at) <= times.to_ms(now):
        return None
    return Added(answer=answer.decode(), replayed=True) if fingerprint == key.fingerprint.encode() else KeyReused()
