"""What can be done with an email that was accepted: read, list, move to another time, cancel, retry."""

from datetime import timedelta

from postroom import status
from postroom.api import drafts, paging, problems, render
from postroom.api.auth import check_sender
from postroom.api.context import Context
from postroom.api.errors import not_found, not_served
from postroom.api.exchange import Exchange
from postroom.api.response import Response, as_json
from postroom.api.schemas import ScheduleIn
from postroom.mail import email_ids, mime
from postroom.mail.api_key import ApiKey, Scope
from postroom.mail.email import Email
from postroom.store import attachments
from postroom.store.base import Store

COPIES = 3  # of its contents, while a message is composed: as they are stored, encoded, put together


async def read(context: Context, exchange: Exchange) -> Response:
    """An email and its life."""
    return as_json(render.whole(await _email(context, exchange)))


async def list_page(context: Context, exchange: Exchange) -> Response:
    """A page of emails, newest first."""
    key = await context.authenticator.admit(exchange, Scope.READ)
    query = paging.query(key.account, exchange.scope["query_string"])
    page = await exchange.ask(status.page, query, store=context.postroom.store)
    data = [render.in_list(email) for email in page.emails]
    return as_json({"object": "list", "has_more": page.has_more, "data": data})


async def read_events(context: Context, exchange: Exchange) -> Response:
    """The timeline of an email, oldest first."""
    email = await _email(context, exchange)
    return as_json({"object": "list", "has_more": False, "data": render.timeline(email.life.timeline)})


async def read_raw(context: Context, exchange: Exchange) -> Response:
    """The message as it is handed to the relay (RFC 5322)."""
    email = await _email(context, exchange)
    size = sum(part.size for part in email.attachments) + len(email.html or "") + len(email.text or "")
    context.load.hold(exchange, COPIES * size)
    message = await exchange.ask(_compose, email, store=context.postroom.store)
    context.load.let_go(exchange)  # from here on the message is all, and counted as any answer is
    headers = {"content-disposition": f'attachment; filename="{email.id}.eml"', "x-content-type-options": "nosniff"}
    return Response(message, headers=headers, media_type="message/rfc822")


async def reschedule(context: Context, exchange: Exchange) -> Response:
    """Moves a scheduled email to another time."""
    key = await context.authenticator.admit(exchange, Scope.MANAGE)
    store = context.postroom.store
    email = await exchange.ask(status.read, key.account, _id(exchange), store=store)
    check_sender(email.sender, key)
    sent = problems.shaped(ScheduleIn, await context.read_json(exchange))
    now = context.postroom.clock()
    at = drafts.scheduled_at(sent.scheduled_at, context.postroom.settings, now)
    return _changed(await exchange.change(store.reschedule, key.account, email.id, at, now=now))


async def cancel(context: Context, exchange: Exchange) -> Response:
    """Cancels an email that no worker has claimed."""
    key = await _may_change(context, exchange)
    store = context.postroom.store
    return _changed(await exchange.change(store.cancel, key.account, _id(exchange), now=context.postroom.clock()))


async def retry(context: Context, exchange: Exchange) -> Response:
    """Queues a failed, uncertain or canceled email again."""
    key = await _may_change(context, exchange)
    settings, now = context.postroom.settings, context.postroom.clock()
    email = await exchange.change(
        context.postroom.store.retry,
        key.account,
        _id(exchange),
        now=now,
        max_age=timedelta(hours=settings.max_age_hours),
        wake_up_at=now + timedelta(seconds=settings.wake_up_seconds),
    )
    context.postroom.publisher.publish([(email.lane, email.id)])
    return _changed(email)


async def reserved(context: Context, exchange: Exchange) -> Response:
    """A fixed word beside `/emails/{id}` that this service does not offer."""
    await context.authenticator.admit(exchange)
    raise not_served()


async def _may_change(context: Context, exchange: Exchange) -> ApiKey:
    """The key of this request, which may do so to the email in the path: one that is bound to sender domains changes no
    others."""
    key = await context.authenticator.admit(exchange, Scope.MANAGE)
    if key.domains:
        email = await exchange.ask(status.read, key.account, _id(exchange), store=context.postroom.store)
        check_sender(email.sender, key)
    return key


async def _email(context: Context, exchange: Exchange) -> Email:
    key = await context.authenticator.admit(exchange, Scope.READ)
    return await exchange.wait(context.reads.read(key.account, _id(exchange), seconds=exchange.patience))


def _id(exchange: Exchange) -> str:
    """The id in the path. One that cannot be an id is as unknown as any other."""
    email_id = exchange.path_id.lower()
    if not email_ids.is_one(email_id):
        raise not_found("no such email")
    return email_id


def _compose(email: Email, *, store: Store) -> bytes:
    return mime.compose(email, attachments.contents_of(email, store=store))


def _changed(email: Email) -> Response:
    return as_json({"object": "email", "id": email.id})
