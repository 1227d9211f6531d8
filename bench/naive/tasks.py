"""The Celery application and its one task. Results go to MongoDB, which is how the status is known."""

import os
import smtplib
from email.message import EmailMessage
from typing import Any

from celery import Celery

DURABLE = bool(os.environ.get("NAIVE_DURABLE"))  # the same design with every durable setting turned on
RELAY_PORT = int(os.environ.get("NAIVE_RELAY_PORT", "25"))

app = Celery("naive", broker=os.environ["NAIVE_BROKER"], backend=os.environ["NAIVE_RESULTS"])
if DURABLE:
    app.conf.update(
        task_default_queue_type="quorum",
        broker_transport_options={"confirm_publish": True},
        task_acks_late=True,
        task_reject_on_worker_lost=True,
    )


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def deliver(email: dict[str, Any]) -> str:
    """Sends one email."""
    message = EmailMessage()
    message["From"] = email["sender"]
    message["To"] = email["to"]
    message["Subject"] = email["subject"]
    message.set_content(email["text"])
    with smtplib.SMTP("127.0.0.1", RELAY_PORT) as smtp:
        smtp.send_message(message)
    return "sent"
