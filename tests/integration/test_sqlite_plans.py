"""The SQLite store's query plans: no step looks through all emails, however many there are."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postroom.mail.email import Lane, Status
from postroom.store.base import Claim, Query
from postroom.store.sqlite import claims, keys, listing, moves, reading, schema, submission, upkeep
from postroom.store.sqlite.claims import Taken
from postroom.store.taking import PUT_OFF_AT_ONCE, Taking
from postroom.store.unreadable import PassedOver
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND

NOW = make.now()
TABLES = r"(emails|bodies|attachments|terms|idempotency|d)\b"
Operation = Callable[[sqlite3.Connection], object]


class Plans:
    """Runs operations and remembers how each of their statements was carried out."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.connection = schema.open_writer(path)
        self.steps: list[str] = []

    def run(self, operation: Operation) -> object:
        """The operation's result; its statements' plans are in `steps`."""
        statements: list[str] = []
        self.connection.set_trace_callback(statements.append)
        result = operation(self.connection)
        self.connection.set_trace_callback(None)
        self.steps = [
            step for statement in statements if not statement.startswith("--") for step in self._of(statement)
        ]
        return result

    def _of(self, statement: str) -> list[str]:
        return [detail for *_, detail in self.connection.execute(f"EXPLAIN QUERY PLAN {statement}")]

    def instructions(self, operation: Operation) -> int:
        """How many of SQLite's instructions it takes."""
        counted: list[None] = []
        self.connection.set_progress_handler(lambda: counted.append(None), 1)
        operation(self.connection)
        self.connection.set_progress_handler(None, 0)
        return len(counted)

    @property
    def scans(self) -> list[str]:
        """The steps that go through a whole table, with or without an index."""
        return [step for step in self.steps if re.match(rf"SCAN {TABLES}", step)]


@pytest.fixture
def plans(tmp_path: Path) -> Iterator[Plans]:
    made = Plans(tmp_path / "store.sqlite3")
    yield made
    made.connection.close()


def added(plans: Plans, count: int = 5, **changes: object) -> list[str]:
    emails = [make.email(NOW, tags=(("kind", "a"),), **changes) for _ in range(count)]
    emails.append(make.scheduled(NOW, NOW + HOUR))
    key = make.idempotency_key(NOW + HOUR)
    plans.run(submission.add([make.submission(*emails, key=key)], now=NOW, wake_up_at=NOW))
    return [email.id for email in emails[:count]]


def claimed(plans: Plans, ids: list[str]) -> list[Claim]:
    taking = Taking(worker="w", now=NOW, lease=LEASE)
    taken = plans.run(claims.claim(ids, taking))
    assert isinstance(taken, list)
    emails = claims.claimed(taken, taking.token)(plans.connection)
    return [Claim(email=email, token=taking.token) for email in emails.values()]


def test_adding_looks_through_nothing(plans: Plans) -> None:
    added(plans)
    assert plans.scans == []


def test_delivering_looks_through_nothing(plans: Plans) -> None:
    held = claimed(plans, added(plans))
    assert held
    assert plans.scans == []
    tokens = {claim.email.id: claim.token for claim in held}
    taking = Taking(worker="w", now=NOW, lease=LEASE)
    taken = [Taken(number, "queued", 0, 0, None, None) for number in (1, 2, 3)]
    for operation in (
        claims.claim_due(10, Lane.BULK, taking),
        claims.claimed(taken, held[0].token),
        claims.give_back(taken, "another"),
        claims.renew(tokens, now=NOW, lease=LEASE),
        claims.fence(tokens, now=NOW, lease=LEASE),
        claims.settle([make.sent(claim, NOW) for claim in held[:2]], now=NOW),
        claims.settle_late([make.sent(claim, NOW) for claim in held[2:]], now=NOW),
        reading.get_many([(ACCOUNT, held[0].email.id), (ACCOUNT, "unknown")]),
        reading.attachments(held[0].email.id),
    ):
        plans.run(operation)
        assert plans.scans == []


def test_look_for_due_emails_goes_through_few_that_have_expired(plans: Plans) -> None:
    over = make.new_life(NOW - HOUR, expires_at=NOW)
    emails = [make.email(NOW - HOUR, life=over) for _ in range(4 * PUT_OFF_AT_ONCE)]
    plans.run(submission.add([make.submission(*emails, make.email(NOW))], now=NOW, wake_up_at=NOW))
    taking = Taking(worker="w", now=NOW, lease=LEASE)
    looks = [plans.instructions(claims.claim_due(10, Lane.BULK, taking)) for _ in range(5)]
    assert max(looks[:4]) < 1.1 * min(looks[:4])
    assert looks[4] < looks[0] / 10  # what was put off is in nobody's way


def test_upkeep_looks_through_nothing(plans: Plans) -> None:
    ids = added(plans)
    claimed(plans, ids[:2])
    much_later = NOW + 100 * HOUR
    for operation in (
        upkeep.due(10, now=NOW + 2 * HOUR, wake_up_again_at=NOW + 3 * HOUR),
        upkeep.recover(1, now=much_later, doubt_delay=SECOND, everything=False),
        upkeep.recover(1, now=NOW, doubt_delay=SECOND, everything=True),
        upkeep.expire(10, now=much_later, passed_over=PassedOver()),
        upkeep.prune(10, finished_before=much_later + HOUR),
        upkeep.prune_keys(10, now=much_later),
    ):
        assert plans.run(operation) != 0
        assert plans.scans == []
        assert not [step for step in plans.steps if "TEMP B-TREE" in step]


def test_moves_by_hand_look_through_nothing(plans: Plans) -> None:
    first, *_ = added(plans)
    plans.run(moves.cancel(ACCOUNT, first, now=NOW))
    assert plans.scans == []


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"status": [Status.FAILED]},
        {"status": [Status.FAILED, Status.QUEUED]},
        {"to": "anna@example.com"},
        {"tag": "kind"},
        {"subject": "hel"},
        {"created_after": NOW - HOUR, "created_before": NOW + HOUR},
        {"status": [Status.QUEUED], "to": "anna@example.com", "tag": "kind:a", "subject": "hel"},
    ],
)
@pytest.mark.parametrize("cursor", [None, "after", "before"])
def test_listing_looks_through_nothing(plans: Plans, wanted: dict[str, object], cursor: str | None) -> None:
    ids = added(plans)
    query = Query(**{"account": ACCOUNT, "limit": 2, **wanted, **({cursor: ids[2]} if cursor else {})})  # type: ignore[arg-type]
    plans.run(listing.page(query))
    assert plans.scans == []


def test_listing_by_many_different_subjects_reads_their_index_alone(plans: Plans) -> None:
    emails = [make.email(NOW, subject=f"Order {number}") for number in range(50)]
    plans.run(submission.add([make.submission(*emails)], now=NOW, wake_up_at=NOW))
    plans.run(listing.page(Query(account=ACCOUNT, limit=2, subject="order")))
    assert plans.scans == []
    assert any("USING COVERING INDEX emails_by_subject" in step for step in plans.steps)


def test_counting_reads_nothing_but_small_indexes(plans: Plans) -> None:
    added(plans)
    plans.run(reading.counts)
    assert plans.scans == ["SCAN emails USING COVERING INDEX emails_listed"]
    plans.run(reading.backlog)
    read = [step for step in plans.steps if "emails" in step]
    assert len(read) == 2
    assert all(re.search("USING COVERING INDEX emails_(due|claimed)", step) for step in read)


def test_keys_are_found_without_looking_through_them(plans: Plans) -> None:
    plans.run(keys.add(make.api_key()))
    plans.run(keys.find(make.api_key().id))
    assert not [step for step in plans.steps if "SCAN api_keys" in step]
