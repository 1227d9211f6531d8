"""A load on the stack, and the books after it: Mailpit's inbox is the truth about what was handed over."""

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.chaos.ledger import NO_ANSWER, Kind, Ledger
from tests.chaos.load import Load
from tests.stack.stand import Stand, wait

PATIENCE_SECONDS = 120.0


@contextmanager
def load(stand: Stand, *, rate: float = 40) -> Iterator[Ledger]:
    """Clients that submit until the block ends, each submission repeated until it is accepted."""
    ledger = Ledger()
    clients = Load(
        ledger,
        address=stand.address("API_PORT"),
        key=stand.key,
        rate=rate,
        clients=4,
        name=uuid.uuid4().hex[:8],
        kind=lambda: Kind.PLAIN,
    )
    clients.start()
    try:
        yield ledger
    finally:
        clients.stop(patience=PATIENCE_SECONDS)


def more(ledger: Ledger, count: int) -> None:
    """Waits until so many more were accepted."""
    wanted = len(ledger.accepted) + count
    wait(lambda: len(ledger.accepted) >= wanted, f"{count} more are accepted")


def expect_balanced(stand: Stand, ledger: Ledger, *, outage: bool) -> None:
    """Everything accepted is sent and has arrived; twice only where it is flagged; nobody was refused without an outage
    of the store or the API."""
    codes = Counter(asked.code for asked in ledger.submissions)
    assert set(codes) <= ({200, 503, NO_ANSWER} if outage else {200}), codes
    emails = expect_sent(stand, ledger)
    copies = Counter(message["Subject"] for message in stand.mailpit())
    assert not set(ledger.accepted) - set(copies), "lost"
    doubled = [ledger.accepted[subject] for subject in ledger.accepted if copies[subject] > 1]
    assert all(emails[email_id]["possible_duplicate"] for email_id in doubled), "doubled, not flagged"


def expect_sent(stand: Stand, ledger: Ledger) -> dict[str, Any]:
    """Waits until everything accepted is sent; returns it, as the API lists it."""
    assert not set(ledger.kinds) - set(ledger.accepted), "never answered"
    return expect_all_sent(stand, set(ledger.accepted.values()))


def expect_all_sent(stand: Stand, ids: set[str]) -> dict[str, Any]:
    """Waits until these are sent; returns them, as the API lists them."""
    wait(lambda: not ids & set(_listed(stand, status="queued,sending,retrying")), "nothing accepted is in work")
    emails = _listed(stand)
    assert not ids - set(emails), "lost"
    assert {emails[email_id]["status"] for email_id in ids} == {"sent"}
    return {email_id: emails[email_id] for email_id in ids}


def _listed(stand: Stand, **query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    query["limit"] = "100"
    while True:
        page = stand.api("GET", "/emails", params=query).json()
        found |= {email["id"]: email for email in page["data"]}
        if not page["has_more"]:
            return found
        query["after"] = page["data"][-1]["id"]
