"""POST /emails and POST /emails/batch: from the body to a durable submission and its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson

from postroom.api import drafts, idempotency, render
from postroom.api.auth import check_sender
from postroom.api.context import Context
from postroom.api.errors import InvalidBody, Refusal, refusal_of
from postroom.api.exchange import Exchange
from postroom.api.response import Response, as_json, packed
from postroom.api.response_schemas import RefusedEmail
from postroom.errors import InvalidInput
from postroom.mail import draft as drafting
from postroom.mail.api_key import ApiKey, Scope
from postroom.mail.draft import Draft
from postroom.mail.email import Email, Json, Lane
from postroom.settings import Settings
from postroom.store.base import IdempotencyKey, KeyReused, Submission

STRICT, PERMISSIVE = "strict", "permissive"


async def submit(context: Context, exchange: Exchange) -> Response:
    """Accepts one email."""
    key = await context.authenticator.admit(exchange, Scope.SEND)
    idempotency_key = idempotency.key_of(exchange)
    if not context.backlog.has_room():
        await exchange.wait(context.backlog.check())
    payload = await context.read_json(exchange)
    intent = _Intent(exchange, context, key, "emails", STRICT, idempotency_key, payload, context.postroom.clock())
    try:
        draft = await context.work(exchange, drafts.draft, payload, settings=context.postroom.settings, now=intent.now)
    except InvalidBody:
        if (earlier := await intent.replay()) is not None:
            return earlier
        raise
    check_sender(draft.sender, key)
    email = intent.accept(draft)
    return await intent.store((email,), packed(render.accepted(email)))


async def submit_batch(context: Context, exchange: Exchange) -> Response:
    """Accepts a list of emails: all or none, or in permissive mode those that are valid."""
    key = await context.authenticator.admit(exchange, Scope.SEND)
    idempotency_key = idempotency.key_of(exchange)
    mode = _mode(exchange)
    await exchange.wait(context.backlog.check())
    payload = _listed(await context.read_json(exchange), context.postroom.settings)
    await exchange.wait(context.backlog.check(len(payload)))
    intent = _Intent(exchange, context, key, "emails/batch", mode, idempotency_key, payload, context.postroom.clock())
    try:
        emails, refused = await context.work(exchange, intent.accept_each, payload)
    except Refusal:
        if (earlier := await intent.replay()) is not None:
            return earlier
        raise
    answer: dict[str, object] = {"data": [render.accepted(email) for email in emails]}
    if mode == PERMISSIVE:
        answer["errors"] = refused
    if not emails:
        return await intent.replay() or as_json(answer)
    return await intent.store(emails, packed(answer))


@dataclass(slots=True)  # not frozen: that would cost each request a microsecond
class _Intent:
    """One request to submit, read and permitted."""

    exchange: Exchange
    context: Context
    key: ApiKey
    endpoint: str
    mode: str
    idempotency_key: str | None
    payload: Json
    now: datetime

    def accept(self, draft: Draft) -> Email:
        """The email that this draft becomes."""
        settings = self.context.postroom.settings
        return drafting.accept(
            draft,
            account=self.key.account,
            key_id=self.key.id,
            idempotency_key=self.idempotency_key,
            max_attempts=settings.max_attempts,
            max_age=timedelta(hours=settings.max_age_hours),
            now=self.now,
        )

    def accept_each(self, payload: Sequence[Json]) -> tuple[tuple[Email, ...], list[RefusedEmail]]:
        """The emails of a batch, and what was refused. In strict mode the first problem is raised, with its index."""
        settings = self.context.postroom.settings
        lane = Lane.BULK if len(payload) > settings.bulk_batch_size else Lane.NORMAL
        emails: list[Email] = []
        refused: list[RefusedEmail] = []
        for index, one in enumerate(payload):
            try:
                draft = drafts.draft(one, settings=settings, now=self.now, lane=lane)
                check_sender(draft.sender, self.key)
            except (InvalidBody, Refusal) as error:
                refusal = _of_one(error, index)
                if self.mode == STRICT:
                    raise refusal from None
                refused.append({"index": index, "message": refusal.message})
            else:
                emails.append(self.accept(draft))
        return tuple(emails), refused

    async def store(self, emails: tuple[Email, ...], answer: bytes) -> Response:
        """Makes them durable and answers; or answers as when the same request first came."""
        if self.context.is_small(self.exchange):  # as `work`, which costs the many small requests a step more
            bound = self._bound()
        else:
            bound = await self.context.work(self.exchange, self._bound)
        submission = Submission(account=self.key.account, emails=emails, answer=answer.decode(), idempotency=bound)
        added = await self.context.commits.submit(submission, seconds=self.exchange.patience)
        if isinstance(added, KeyReused):
            raise idempotency.reused()
        if added.replayed:
            return self._replayed(added.answer)
        self.context.backlog.added(len(emails))
        return _respond(self.exchange, added.answer)

    async def replay(self) -> Response | None:
        """The answer when the same request came before and was accepted. It may be refused now because a time in it has
        passed; what its client needs to hear is that the emails are there."""
        bound = await self.context.work(self.exchange, self._bound)
        store = self.context.postroom.store
        answer = await self.exchange.ask(store.replay, self.key.account, bound, now=self.now) if bound else None
        return self._replayed(answer) if answer is not None else None

    def _bound(self) -> IdempotencyKey | None:
        return idempotency.bind(
            self.idempotency_key,
            self.payload,
            endpoint=self.endpoint,
            mode=self.mode,
            now=self.now,
            hours=self.context.postroom.settings.idempotency_hours,
        )

    def _replayed(self, answer: str) -> Response:
        self.exchange.added.append((b"idempotent-replayed", b"true"))
        return _respond(self.exchange, answer)


def _respond(exchange: Exchange, answer: str) -> Response:
    """200; or 202 for those who ask for it (RFC 7240)."""
    if b"respond-async" not in exchange.headers.get(b"prefer", b"").lower():
        return Response(answer.encode())
    email_id = orjson.loads(answer).get("id", "")
    headers = {"preference-applied": "respond-async", "location": f"/emails/{email_id}" if email_id else "/emails"}
    return Response(answer.encode(), 202, headers=headers)


def _mode(exchange: Exchange) -> str:
    mode = exchange.headers.get(b"x-batch-validation", b"strict").strip().lower().decode("latin-1")
    if mode not in (STRICT, PERMISSIVE):
        problem = InvalidInput("x-batch-validation", "must be strict or permissive")
        raise InvalidBody([problem])
    return mode


def _listed(payload: Json, settings: Settings) -> list[Json]:
    if not isinstance(payload, list):
        raise InvalidInput("", "a JSON list of emails is needed")
    if not 1 <= len(payload) <= settings.max_batch:
        raise InvalidInput("", f"a list of 1 to {settings.max_batch} emails is needed")
    return payload


def _of_one(error: InvalidBody | Refusal, index: int) -> Refusal:
    """The refusal of one email of a batch; message and members name its index."""
    refusal = refusal_of(error)
    assert refusal is not None
    details = [{**detail, "member": _below(index, detail["member"])} for detail in refusal.details]
    return Refusal(refusal.status, refusal.name, f"Email at index {index}: {refusal.message}", details=details)


def _below(index: int, member: str) -> str:
    return f"[{index}].{member}" if member and not member.startswith("[") else f"[{index}]{member}"
