"""The HTTP side: hand each email to Celery, and tell what became of it."""

from celery.result import AsyncResult
from fastapi import FastAPI
from pydantic import BaseModel, Field

from bench.naive import tasks

app = FastAPI()


class EmailIn(BaseModel):
    """An email to send."""

    sender: str = Field(alias="from")
    to: str
    subject: str
    text: str


@app.post("/emails", status_code=202)
async def submit(email: EmailIn) -> dict[str, str]:
    """Starts a task for the email; the task's id is the email's."""
    return {"id": tasks.deliver.delay(email.model_dump()).id}


@app.get("/emails/{email_id}")
def read(email_id: str) -> dict[str, str]:
    """What Celery knows of the task."""
    return {"id": email_id, "status": AsyncResult(email_id, app=tasks.app).state}
