"""The broker, its one task, and the HTTP side."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

import aiosmtplib
from fastapi import FastAPI
from pydantic import BaseModel, Field
from taskiq_aio_pika import AioPikaBroker
from taskiq_redis import RedisAsyncResultBackend

RELAY_PORT = int(os.environ.get("TASKIQ_RELAY_PORT", "25"))
results = RedisAsyncResultBackend(os.environ["TASKIQ_RESULTS"])
broker = AioPikaBroker(os.environ["TASKIQ_BROKER"]).with_result_backend(results)


class EmailIn(BaseModel):
    """An email to send."""

    sender: str = Field(alias="from")
    to: str
    subject: str
    text: str


@broker.task  # type: ignore[untyped-decorator]  # not installed where types are checked
async def deliver(email: dict[str, str]) -> str:
    """Sends one email."""
    message = EmailMessage()
    message["From"] = email["sender"]
    message["To"] = email["to"]
    message["Subject"] = email["subject"]
    message.set_content(email["text"])
    await aiosmtplib.send(message, hostname="127.0.0.1", port=RELAY_PORT)
    return "sent"


@asynccontextmanager
async def _connected(_: FastAPI) -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


app = FastAPI(lifespan=_connected)


@app.post("/emails", status_code=202)
async def submit(email: EmailIn) -> dict[str, str]:
    """Starts a task for the email; the task's id is the email's."""
    task = await deliver.kiq(email.model_dump())
    return {"id": task.task_id}


@app.get("/emails/{email_id}")
async def read(email_id: str) -> dict[str, str]:
    """What the result backend knows of the task."""
    if not await results.is_result_ready(email_id):
        return {"id": email_id, "status": "pending"}
    result = await results.get_result(email_id)
    return {"id": email_id, "status": "failed" if result.is_err else str(result.return_value)}
