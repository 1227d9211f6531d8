"""kill -9 at random moments under load: nothing lost, every duplicate flagged, work goes on at once."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.service import Service, wait_until
from tests.smtpd import Accept, Hold, Say, Smtpd

KILLS = 20
CLIENTS = 4
UNDER_WAY = {"scheduled", "queued", "sending", "retrying"}


@dataclass
class Ledger:
    """What the clients know: ids answered by 200, by idempotency key. A request without an answer is repeated."""

    service: Service
    accepted: dict[str, str] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self, name: int) -> None:
        """One client: a new email, again and again with the same key until it is answered, then the next."""
        for number in range(100_000):
            key = f"{name}-{number}"
            while key not in self.accepted:
                if self.over.is_set():
                    return
                self._try(key)

    def _try(self, key: str) -> None:
        email = {"from": "ann@example.com", "to": "bob@example.com", "subject": key, "text": "t"}
        headers = {"Authorization": f"Bearer {self.service.key}", "Idempotency-Key": key}
        try:
            answer = httpx.post(self.service.address + "/emails", json=email, headers=headers, timeout=5)
        except httpx.HTTPError:
            time.sleep(0.02)
            return
        if answer.status_code == 200:
            self.accepted[key] = answer.json()["id"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_every_duplicate_is_flagged_over_twenty_kills(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    record_property("seed", seed)
    chance = random.Random(seed)
    with Smtpd() as sink, closing_service(Service(tmp_path, relay_url=sink.url)) as service:
        sink.script.on("dot", Accept(), Hold(threading.Event(), seconds=0.01), Say("250 2.0.0 taken"))
        service.start()
        with clients(Ledger(service)) as ledger:
            recoveries = []
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.2, 1.0))  # the moment of the kill is what is tested
                service.kill()
                recoveries.append(_restart(service, sink))
        emails = _quiesce(service)
        service.stop()
        copies = Counter(str(message_from_bytes(r.data)["Subject"]) for r in sink.received)
    _check(ledger, emails, copies)
    assert max(recoveries) < 5, recoveries
    assert sink.violations == []


@contextmanager
def closing_service(service: Service) -> Iterator[Service]:
    """Kills the service at the end, however the test went."""
    try:
        yield service
    finally:
        service.kill()


@contextmanager
def clients(ledger: Ledger) -> Iterator[Ledger]:
    """Clients that submit while the block lasts."""
    threads = [threading.Thread(target=ledger.run, args=(i,), daemon=True) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield ledger
    finally:
        ledger.over.set()
        for thread in threads:
            thread.join(30)


def _restart(service: Service, sink: Smtpd) -> float:
    """Starts it again; returns after how many seconds of its life the next email had reached the relay."""
    service.start()
    began, seen = time.monotonic(), len(sink.received)
    wait_until(lambda: len(sink.received) > seen, "delivery goes on", 10)
    return time.monotonic() - began


def _quiesce(service: Service) -> dict[str, dict[str, Any]]:
    """All emails by id, once none is under way."""

    def counted() -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        query: dict[str, str] = {"limit": "100"}
        while True:
            page = service.request("GET", "/emails", params=query).json()
            found |= {email["id"]: email for email in page["data"]}
            if not page["has_more"]:
                return found
            query["after"] = page["data"][-1]["id"]

    wait_until(lambda: not UNDER_WAY & {e["status"] for e in counted().values()}, "everything has ended", 60)
    return counted()


def _check(ledger: Ledger, emails: dict[str, dict[str, Any]], copies: Counter[str]) -> None:
    lost = [key for key, email_id in ledger.accepted.items() if email_id not in emails or not copies[key]]
    assert lost == []
    assert {email["status"] for email in emails.values()} == {"sent"}
    doubled = {subject for subject, count in copies.items() if count > 1}
    flagged = {email["subject"] for email in emails.values() if email["possible_duplicate"]}
    assert doubled <= flagged
    assert len(emails) == len({email["subject"] for email in emails.values()}), "one key made two emails"
