"""After the faults: wake-ups must reach workers again, or every email would wait for a poll or a sweep."""

import time
from itertools import count

import httpx

from tests.chaos.ledger import Asked, Kind, Ledger
from tests.chaos.rig import Rig

QUICK_SECONDS = 2.0  # from submission to `sent`; without wake-ups it is up to ten
IN_A_ROW = 6  # each over a connection of its own, so that every API process has its turn
PATIENCE_SECONDS = 60.0


def is_quick_again(rig: Rig, ledger: Ledger, name: str) -> bool:
    """Whether so many emails in a row are sent at once, within a minute."""
    deadline, quick = time.monotonic() + PATIENCE_SECONDS, 0
    for number in count():
        began = time.monotonic()
        _deliver(rig, ledger, f"{name}-after-{number}", deadline)
        quick = quick + 1 if time.monotonic() - began < QUICK_SECONDS else 0
        if quick == IN_A_ROW or time.monotonic() > deadline:
            break
    return quick == IN_A_ROW


def _deliver(rig: Rig, ledger: Ledger, subject: str, deadline: float) -> None:
    """Submits an email and waits until it is sent."""
    email = {"from": "ann@example.com", "to": "plain@example.net", "subject": subject, "text": f"This is {subject}."}
    headers = {"Authorization": f"Bearer {rig.key}"}
    ledger.intend(subject, Kind.PLAIN)
    began = time.monotonic()
    answer = httpx.post(f"{rig.address}/emails", json=email, headers=headers, timeout=10, trust_env=False)
    email_id = str(answer.raise_for_status().json()["id"])
    ledger.note(subject, Asked(at=began, seconds=time.monotonic() - began, code=answer.status_code), email_id)
    while rig.request(f"/emails/{email_id}")["status"] != "sent" and time.monotonic() < deadline:
        time.sleep(0.05)
