"""Following an email until it has ended, through an API that may be busy, restarting or closed to this key."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from postroom.errors import EndUnknown, ServiceUnreachable
from postroom.mail.email import Status
from postroom.mail.lifecycle import FINAL

ENDED = FINAL | {Status.UNCERTAIN}
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0
UNANSWERED_SECONDS = 60.0  # for which the API may be away
BUSY = 429


def follow(
    read: Callable[[], httpx.Response],
    *,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Returns the email once it has ended. `read` asks the API for it, `tell` is told its status at each reading.

    Waits through refusals of a busy API, and for a minute through one that is away. Raises `EndUnknown` after that, and
    where the API does not show the email.
    """
    pause, answered_at = FIRST_PAUSE_SECONDS, clock()
    while True:
        asked_to_wait = 0.0
        try:
            answer = read()
            if email := _email(answer):
                tell(email["status"])
                if email["status"] in ENDED:
                    return email
            if email or answer.status_code == BUSY:
                answered_at = clock()
            asked_to_wait, trouble = _retry_after(answer), f"the service answers HTTP {answer.status_code}"
        except ServiceUnreachable as error:
            trouble = str(error)
        if clock() - answered_at > UNANSWERED_SECONDS:
            raise EndUnknown(trouble)
        sleep(max(pause, asked_to_wait))
        pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)


def _email(answer: httpx.Response) -> dict[str, Any] | None:
    """The email in an answer; None where the API, or what stands before it, does not tell it now."""
    if answer.is_client_error and answer.status_code != BUSY:
        raise EndUnknown(f"the service does not show it to this key (HTTP {answer.status_code})")
    try:
        content = answer.json()
    except ValueError:
        return None
    return content if answer.is_success and isinstance(content, dict) and "status" in content else None


def _retry_after(answer: httpx.Response) -> float:
    """Seconds that the API asks to wait, a minute at most."""
    asked = answer.headers.get("retry-after", "")
    return min(float(asked), UNANSWERED_SECONDS) if asked.isascii() and asked.isdigit() else 0.0
