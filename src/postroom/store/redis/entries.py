"""What new emails are in the hashes and indexes, gathered so that each of these takes one command for all of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from postroom.mail import milliseconds
from postroom.mail.email import Email, Lane, Status
from postroom.mail.lifecycle import FINAL
from postroom.store.redis import lives, records
from postroom.store.redis.records import BODIES, LIVES, STATES, SUBMITTED
from postroom.store.redis.session import Argument, Command


@dataclass(slots=True)
class _Alike:
    """What indexes hold of the emails of one account, status and lane: members and, where they differ, scores."""

    ids: list[str] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)
    due: list[Argument] = field(default_factory=list)
    wake: list[Argument] = field(default_factory=list)


def entries(emails: Iterable[Email], *, now: datetime, wake_up_at: datetime) -> Iterator[Command]:
    """All that makes new emails stored, where the layout (`lua/prelude.lua`) wants it; to be carried out as one. The
    sweep publishes at `wake_up_at` what is due already."""
    now_ms, wake_ms = milliseconds.of(now), milliseconds.of(wake_up_at)
    submitted: list[Argument] = []
    bodies: list[Argument] = []
    changing: list[Argument] = []
    states: list[Argument] = []
    deadlines: list[Argument] = []
    groups: dict[tuple[str, Status, Lane], _Alike] = {}
    ended: list[str] = []
    for email in emails:
        email_id, account, life = email.id, email.account, email.life
        status, lane, expires_at = life.status, email.lane, milliseconds.of(life.expires_at)
        large = records.bodies_json(email)
        submitted += (email_id, records.submitted_json(email))
        bodies += (email_id, large)
        changing += (email_id, lives.to_json(life))
        states += (email_id, f"{status}\0{now_ms}\0{expires_at}\0{len(large)}\0{lane}\0{account}")
        alike = groups.get((account, status, lane))
        if alike is None:
            alike = groups[account, status, lane] = _Alike()
        alike.ids.append(email_id)
        alike.terms += [f"{term}\0{email_id}" for term in records.terms(email)]
        due = records.due_at(life)
        if isinstance(due, int):
            alike.due += (due, email_id)
            alike.wake += (wake_ms if due <= now_ms else due, email_id)
            deadlines += (expires_at, email_id)
        elif status in FINAL:
            ended.append(email_id)
        if email.attachments:
            contents = [part for n, one in enumerate(email.attachments) for part in (n, one.content or b"")]
            yield "HSET", f"postroom:attachments:{email_id}", *contents
    if states:
        yield "HSET", SUBMITTED, *submitted
        yield "HSET", BODIES, *bodies
        yield "HSET", LIVES, *changing
        yield "HSET", STATES, *states
    if deadlines:
        yield "ZADD", "postroom:deadlines", *deadlines
    if ended:
        yield "ZADD", "postroom:finished", now_ms, "".join(ended)
    for (account, status, lane), alike in groups.items():
        yield from _indexed(alike, account, status, lane)


def _indexed(alike: _Alike, account: str, status: Status, lane: Lane) -> Iterator[Command]:
    yield "ZADD", f"postroom:listed:{status}:{account}", *_without_order(alike.ids)
    yield "ZADD", f"postroom:terms:{account}", *_without_order(alike.terms)
    if alike.due:
        yield "ZADD", f"postroom:due:{lane}", *alike.due
        yield "ZADD", f"postroom:wake:{lane}", *alike.wake
    yield "HINCRBY", "postroom:counts", str(status), len(alike.ids)


def _without_order(members: list[str]) -> list[Argument]:
    """Scores and members, all scores the same: such an index is in the order of its members."""
    pairs: list[Argument] = [0] * (2 * len(members))
    pairs[1::2] = members
    return pairs
