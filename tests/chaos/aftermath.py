"""After the faults: wake-ups must reach workers again, or every email would wait for a poll or a sweep; and no process
may stay behind."""

import contextlib
import time
from collections.abc import Collection
from itertools import count
from pathlib import Path

import httpx

from tests.chaos.ledger import Asked, Kind, Ledger
from tests.chaos.rig import Rig

QUICK_SECONDS = 2.0  # from submission to `sent`, beside what the relay takes; without wake-ups it is up to ten
IN_A_ROW = 6  # each over a connection of its own, so that every API process has its turn
PATIENCE_SECONDS = 60.0
LINGER_SECONDS = 5.0  # of a process whose parent has just ended


def is_quick_again(rig: Rig, ledger: Ledger, name: str, *, relay_seconds: float) -> bool:
    """Whether so many emails in a row are sent at once, within a minute."""
    deadline, quick = time.monotonic() + PATIENCE_SECONDS, 0
    for number in count():
        began = time.monotonic()
        _deliver(rig, ledger, f"{name}-after-{number}", deadline)
        quick = quick + 1 if time.monotonic() - began < QUICK_SECONDS + relay_seconds else 0
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


def left_behind(groups: Collection[int]) -> set[str]:
    """The processes of these groups that stay although their leaders have ended."""
    deadline = time.monotonic() + LINGER_SECONDS
    while (found := _members(groups)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _members(groups: Collection[int]) -> set[str]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            name, _, rest = stat.read_text().rpartition(") ")
            state, _, group = rest.split()[:3]
            if int(group) in groups and state != "Z":
                found.add(f"{name})")
    return found
