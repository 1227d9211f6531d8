"""Accepting submissions, and finding out what became of them when the link broke meanwhile."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from redis.exceptions import NoScriptError, ResponseError

from postroom.mail.email import Email
from postroom.store.base import Added, IdempotencyKey, KeyReused, Submission
from postroom.store.redis import faults, records, scripts, times
from postroom.store.redis.talk import Argument, Command, Reply, Talk


def add(
    talk: Talk, submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime
) -> list[Added | KeyReused]:
    """Stores submissions with the emails in them, all by one durable write."""
    outcomes = _stored(talk, *_written(submissions, now=now, wake_up_at=wake_up_at))
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


def _written(
    submissions: Sequence[Submission], *, now: datetime, wake_up_at: datetime
) -> tuple[list[Command], list[Argument]]:
    """The commands that store what may be large, which would be dear in Lua; and what the script wants to know."""
    contents: list[Command] = []
    arguments: list[Argument] = [times.to_ms(now), len(submissions)]
    for submission in submissions:
        arguments += [submission.account, *_key_arguments(submission), len(submission.emails)]
        for email in submission.emails:
            bodies = records.bodies_json(email)
            contents.append(("HSETNX", records.key(email.id), "bodies", bodies))
            contents += _attachments(email)
            arguments += records.submitted_arguments(email, size=len(bodies), now=now, wake_up_at=wake_up_at)
    return contents, arguments


def _key_arguments(submission: Submission) -> tuple[Argument, ...]:
    key = submission.idempotency
    if key is None:
        return "", 0, "", ""
    return _name(submission.account, key), times.to_ms(key.expires_at), key.fingerprint, submission.answer


def _attachments(email: Email) -> Iterator[Command]:
    for position, attachment in enumerate(email.attachments):
        yield "HSETNX", f"postroom:attachments:{email.id}", position, attachment.content or b""


def _stored(talk: Talk, contents: Sequence[Command], arguments: Sequence[Argument]) -> Reply:
    """What the script returns, run in one transaction with the commands before it. It takes back what they have stored
    of submissions that it does not want."""
    for script in (("EVALSHA", scripts.ADD.sha), ("EVAL", scripts.ADD.source)):
        (*_, replies) = talk.write(("MULTI",), *contents, (*script, 0, *arguments), ("EXEC",), durable=True)
        if not isinstance(replies[-1], NoScriptError):  # a restarted Redis remembers no scripts
            break
    if isinstance(replies[-1], ResponseError):
        raise faults.of_reply(talk.address, replies[-1]) from replies[-1]
    return replies[-1]


def _answer(submission: Submission, outcome: bytes, earlier: bytes = b"") -> Added | KeyReused:
    if outcome == b"reused":
        return KeyReused()
    if outcome == b"replayed":
        return Added(answer=earlier.decode(), replayed=True)
    return Added(answer=submission.answer, replayed=False)


def _found(talk: Talk, submission: Submission, now: datetime) -> Added | KeyReused | None:
    if any(talk.ask_all([("HEXISTS", records.key(email.id), "state") for email in submission.emails])):
        return Added(answer=submission.answer, replayed=False)
    key = submission.idempotency
    return _kept(talk, submission.account, key, now) if key else None


def _kept(talk: Talk, account: str, key: IdempotencyKey, now: datetime) -> Added | KeyReused | None:
    kept = talk.ask("GET", f"postroom:idempotency:{_name(account, key)}")
    if kept is None:
        return None
    expires_at, fingerprint, answer = kept.split(b"\0", 2)
    if int(expires_at) <= times.to_ms(now):
        return None
    return Added(answer=answer.decode(), replayed=True) if fingerprint == key.fingerprint.encode() else KeyReused()


def _name(account: str, key: IdempotencyKey) -> str:
    return f"{account}\0{key.endpoint}\0{key.key}"
