"""What can be done with an email that was accepted: read, list, move to another time, cancel, retry."""

from datetime import timedelta

from starlette.requests import Request

from postroom import status
from postroom.api import drafts, paging, render
from postroom.api.answer import Answer, as_json
from postroom.api.desk import Desk
from postroom.api.errors import not_found
from postroom.api.schemas import ScheduleIn
from postroom.mail import mime
from postroom.mail.api_key import Scope
from postroom.mail.email import Email
from postroom.store.base import Store


async def read(request: Request) -> Answer:
    """An email and its life."""
    return as_json(render.whole(await _email(request)))


async def list_page(request: Request) -> Answer:
    """A page of emails, newest first."""
    desk = Desk.of(request)
    key = await desk.admit(request, Scope.READ)
    query = paging.query(key.account, request.scope["query_string"])
    page = await desk.ask(status.page, query, store=desk.postroom.store)
    data = [render.in_list(email) for email in page.emails]
    return as_json({"object": "list", "has_more": page.has_more, "data": data})


async def read_events(request: Request) -> Answer:
    """The timeline of an email, oldest first."""
    email = await _email(request)
    return as_json({"object": "list", "has_more": False, "data": render.timeline(email.life.timeline)})


async def read_raw(request: Request) -> Answer:
    """The message as it is handed to the relay (RFC 5322)."""
    email = await _email(request)
    desk = Desk.of(request)
    message = await desk.ask(_compose, email, store=desk.postroom.store)
    headers = {"content-disposition": f'attachment; filename="{email.id}.eml"', "x-content-type-options": "nosniff"}
    return Answer(message, headers=headers, media_type="message/rfc822")


async def reschedule(request: Request) -> Answer:
    """Moves a scheduled email to another time."""
    desk = Desk.of(request)
    key = await desk.admit(request, Scope.MANAGE)
    store = desk.postroom.store
    email = await desk.ask(status.read, key.account, _id(request), store=store)
    sent = drafts.shaped(ScheduleIn, await desk.read_json(request))
    now = desk.postroom.clock()
    at = drafts.scheduled_at(sent.scheduled_at, desk.postroom.settings, now)
    return _touched(await desk.ask(store.reschedule, key.account, email.id, at, now=now))


async def cancel(request: Request) -> Answer:
    """Calls an email back that no worker has claimed."""
    desk = Desk.of(request)
    key = await desk.admit(request, Scope.MANAGE)
    store = desk.postroom.store
    return _touched(await desk.ask(store.cancel, key.account, _id(request), now=desk.postroom.clock()))


async def retry(request: Request) -> Answer:
    """Starts a failed, uncertain or canceled email anew."""
    desk = Desk.of(request)
    key = await desk.admit(request, Scope.MANAGE)
    settings, now = desk.postroom.settings, desk.postroom.clock()
    email = await desk.ask(
        desk.postroom.store.retry,
        key.account,
        _id(request),
        now=now,
        max_age=timedelta(hours=settings.max_age_hours),
        wake_up_at=now + timedelta(seconds=settings.wake_up_seconds),
    )
    desk.postroom.publisher.publish([(email.lane, email.id)])
    return _touched(email)


async def reserved(request: Request) -> Answer:
    """A fixed word beside `/emails/{id}` that this service does not offer."""
    await Desk.of(request).admit(request)
    raise not_found("this is not offered")


async def _email(request: Request) -> Email:
    desk = Desk.of(request)
    key = await desk.admit(request, Scope.READ)
    return await desk.reads.read(key.account, _id(request))


def _id(request: Request) -> str:
    """The id in the path. One that cannot be an id is as unknown as any other."""
    email_id = str(request.path_params["id"]).lower()
    if not paging.EMAIL_ID.fullmatch(email_id):
        raise not_found("no such email")
    return email_id


def _compose(email: Email, *, store: Store) -> bytes:
    return mime.compose(email, status.attachments(email, store=store))


def _touched(email: Email) -> Answer:
    return as_json({"object": "email", "id": email.id})
