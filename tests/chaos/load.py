"""Clients that submit at a steady rate, each submission repeated with its key until it is accepted; and readers."""

import itertools
import random
import threading
import time
from collections.abc import Callable

import httpx

from tests.chaos.ledger import NO_ANSWER, RECIPIENTS, Asked, Kind, Ledger

PATIENCE_SECONDS = 10.0  # of a client; three times what we promise
PAUSE_SECONDS = 0.2  # before a submission is repeated
_MEMBERS = {Kind.SCHEDULED: {"scheduled_at": "in 2 seconds"}, Kind.HOLD: {"on_uncertain": "hold"}}
FINAL = {"sent", "bounced", "failed", "canceled", "suppressed", "uncertain"}


class Load:
    """Threads that submit and read until they are stopped. A submission under way is brought to its end first, within
    `patience` seconds."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        address: str,
        key: str,
        rate: float,
        clients: int,
        name: str,
        kind: Callable[[], Kind],
    ) -> None:
        self._ledger = ledger
        self._name = name
        self._client_arguments = {
            "base_url": address,
            "headers": {"Authorization": f"Bearer {key}"},
            "timeout": PATIENCE_SECONDS,
            "trust_env": False,
        }
        self._interval = clients / rate
        self._kind = kind
        self._serial = itertools.count()
        self._over = threading.Event()
        self._give_up = threading.Event()
        targets = [self._submit_all] * clients + [self._read_all]
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def stop(self, *, patience: float) -> None:
        """Submits nothing new; returns when all that was begun has been answered by 200, or patience has run out."""
        self._over.set()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._give_up.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS + 1)

    # -- submitting -------------------------------------------------------------------------------------------------

    def _submit_all(self) -> None:
        with httpx.Client(**self._client_arguments) as client:  # type: ignore[arg-type]  # they differ in type
            due = time.monotonic()
            while not self._over.wait(max(0.0, due - time.monotonic())):
                self._submit(client)
                due = max(due + self._interval, time.monotonic())

    def _submit(self, client: httpx.Client) -> None:
        """One email, again and again until it is accepted; then perhaps called back."""
        subject, kind = f"{self._name}-{next(self._serial)}", self._kind()
        self._ledger.intend(subject, kind)
        email = {"from": "ann@example.com", "to": RECIPIENTS[kind], "subject": subject, "text": f"This is {subject}."}
        email |= _MEMBERS.get(kind, {})
        while not (email_id := self._try(client, subject, email)):
            if self._give_up.wait(PAUSE_SECONDS):
                return
        if kind is Kind.CANCELED and _is_called_back(client, email_id):
            self._ledger.note_called_back(subject)

    def _try(self, client: httpx.Client, subject: str, email: dict[str, str]) -> str | None:
        began = time.monotonic()
        email_id: str | None = None
        code, problem = NO_ANSWER, ""
        try:
            answer = client.post("/emails", json=email, headers={"Idempotency-Key": subject})
            code = answer.status_code
            if answer.is_success:
                email_id = str(answer.json()["id"])
            else:
                problem = answer.text[:200]
        except httpx.HTTPError as error:
            problem = type(error).__name__
        asked = Asked(at=began, seconds=time.monotonic() - began, code=code, problem=problem)
        self._ledger.note(subject, asked, email_id)
        return email_id

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read_all(self) -> None:
        """Reads accepted emails: the newest, and any. What has ended stays ended."""
        chance = random.Random(self._name)
        ended: dict[str, str] = {}
        with httpx.Client(**self._client_arguments) as client:  # type: ignore[arg-type]  # they differ in type
            while not self._over.wait(0.05):
                if ids := self._ledger.some_ids():
                    for email_id in (ids[-1], chance.choice(ids)):
                        self._read(client, email_id, ended)

    def _read(self, client: httpx.Client, email_id: str, ended: dict[str, str]) -> None:
        began = time.monotonic()
        code, problem, wrong = NO_ANSWER, "", None
        try:
            answer = client.get(f"/emails/{email_id}")
            code = answer.status_code
            if answer.is_success:
                wrong = _went_back(email_id, answer.json()["status"], ended)
            elif code != 503:
                wrong = f"{email_id}: {code} {answer.text[:200]}"
        except httpx.HTTPError as error:
            problem = type(error).__name__
        asked = Asked(at=began, seconds=time.monotonic() - began, code=code, problem=problem)
        self._ledger.note_read(asked, wrong)


def _went_back(email_id: str, status: str, ended: dict[str, str]) -> str | None:
    before = ended.get(email_id)
    if status in FINAL:
        ended[email_id] = status
    if before is None or before == status or before == "uncertain":
        return None
    return f"{email_id}: was {before}, then {status}"


def _is_called_back(client: httpx.Client, email_id: str) -> bool:
    try:
        return client.post(f"/emails/{email_id}/cancel").is_success
    except httpx.HTTPError:
        return False  # or it is: nobody knows
