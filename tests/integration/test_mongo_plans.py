"""How MongoDB carries out each method: by an index, looking at no more documents than it needs."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import MongoClient
from pymongo.database import Database

from postroom.mail.email import Email, Status
from postroom.store.base import Claim, Query
from postroom.store.mongo import MongoStore
from postroom.store.taking import PUT_OFF_AT_ONCE
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND

Document = dict[str, Any]

EMAILS = 400
AT_MOST = 10  # what each call asks for


@pytest.fixture
def store(mongodb_url: str) -> Iterator[MongoStore]:
    """A store with many emails in every kind of state."""
    store = MongoStore(mongodb_url)
    now = store.clock()
    emails = make.stored(
        store, now, *(make.email(now, subject=f"Order {n}", tags=(("n", str(n % 7)),)) for n in range(EMAILS))
    )
    claims = store.claim([email.id for email in emails[: EMAILS // 4]], worker="w", now=now, lease=SECOND)
    store.settle([make.sent(claim, now) for claim in claims], now=now)
    store.recover(1, now=now + SECOND, doubt_delay=SECOND)
    for start in range(EMAILS // 4, EMAILS // 2, AT_MOST):
        make.claimed(store, now, *emails[start : start + AT_MOST])
    make.stored(store, now, *(make.scheduled(now, now + HOUR) for _ in range(AT_MOST)))
    store.add_key(make.api_key())
    yield store
    store.close()


@pytest.fixture
def database(mongodb_url: str) -> Iterator[Database[Document]]:
    any_date: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
    with MongoClient[Document](mongodb_url) as client:
        yield client.get_default_database().with_options(codec_options=any_date)


class Plans:
    """Runs calls with the profiler on, and keeps what the server did for each."""

    def __init__(self, database: Database[Document]) -> None:
        self._database = database
        self.of: dict[str, list[Document]] = {}

    def see(self, name: str, call: Callable[[], Any]) -> Any:
        self._database.command("profile", 2)
        try:
            result = call()
        finally:
            self._database.command("profile", 0)
        profile = self._database["system.profile"]
        self.of[name] = [entry for entry in profile.find() if entry["ns"] != f"{self._database.name}.system.profile"]
        profile.drop()
        return result

    def having(self, stage: str) -> set[str]:
        return {name for name, entries in self.of.items() for entry in entries if stage in entry.get("planSummary", "")}

    def examined(self, name: str) -> int:
        return sum(entry.get("docsExamined", 0) for entry in self.of[name])


@pytest.fixture
def plans(database: Database[Document]) -> Plans:
    return Plans(database)


def delivery(store: MongoStore, plans: Plans) -> None:
    now = store.clock()
    waiting = store.list(Query(account=ACCOUNT, limit=AT_MOST, status=[Status.QUEUED])).emails
    ids = [email.id for email in waiting]
    claims: list[Claim] = plans.see("claim", lambda: store.claim(ids, worker="w", now=now, lease=LEASE))
    claims += plans.see("claim_due", lambda: store.claim_due(AT_MOST, worker="w", now=now, lease=LEASE))
    tokens = {claim.email.id: claim.token for claim in claims}
    assert len(tokens) == 2 * AT_MOST
    plans.see("renew", lambda: store.renew(tokens, now=now, lease=LEASE))
    plans.see("fence", lambda: store.fence({**tokens, "gone": "x"}, now=now, lease=LEASE))
    sent = [make.sent(claim, now) for claim in claims]
    plans.see("settle", lambda: store.settle(sent[:AT_MOST], now=now))
    plans.see("settle again", lambda: store.settle(sent[:AT_MOST], now=now))
    plans.see("settle_late", lambda: store.settle_late(sent[AT_MOST:], now=now))


def upkeep(store: MongoStore, plans: Plans) -> None:
    now = store.clock()
    later = now + HOUR
    plans.see("due", lambda: store.due(AT_MOST, now=later, wake_up_again_at=later + HOUR))
    plans.see("recover", lambda: store.recover(AT_MOST, now=later, doubt_delay=SECOND))
    plans.see("expire", lambda: store.expire(AT_MOST, now=now + timedelta(days=9)))
    plans.see("prune", lambda: store.prune(AT_MOST, now=later, finished_before=later))


def moves(store: MongoStore, plans: Plans) -> None:
    now = store.clock()
    email: Email = store.list(Query(account=ACCOUNT, limit=1, status=[Status.SCHEDULED])).emails[0]
    plans.see("reschedule", lambda: store.reschedule(ACCOUNT, email.id, now + HOUR, now=now))
    plans.see("cancel", lambda: store.cancel(ACCOUNT, email.id, now=now))
    plans.see("retry", lambda: store.retry(ACCOUNT, email.id, now=now, max_age=HOUR, wake_up_at=now))
    plans.see("get", lambda: store.get(ACCOUNT, email.id))
    plans.see("get_many", lambda: store.get_many([(ACCOUNT, email.id), (ACCOUNT, "unknown")]))
    plans.see("attachments", lambda: store.attachments(email.id))


def listing(store: MongoStore, plans: Plans) -> None:
    now = store.clock()
    wanted: dict[str, dict[str, Any]] = {
        "list": {},
        "list by status": {"status": [Status.SENT, Status.QUEUED]},
        "list by recipient": {"to": "anna@example.com"},
        "list by tag": {"tag": "n:3"},
        "list by subject": {"subject": "order 12"},
        "list by age": {"created_after": now - HOUR, "created_before": now + HOUR},
        "list by all": {"to": "anna@example.com", "subject": "order", "tag": "n", "status": [Status.SENT]},
    }
    for name, query in wanted.items():
        page = plans.see(name, lambda query=query: store.list(Query(account=ACCOUNT, limit=AT_MOST, **query)))
        assert page.emails, name
        cursor = page.emails[0].id
        plans.see(f"{name} after", lambda query=query: store.list(make_query(query, after=cursor)))  # noqa: B023
        plans.see(f"{name} before", lambda query=query: store.list(make_query(query, before=cursor)))  # noqa: B023


def make_query(query: dict[str, Any], **cursor: str) -> Query:
    return Query(account=ACCOUNT, limit=AT_MOST, **query, **cursor)


def rest(store: MongoStore, plans: Plans) -> None:
    now = store.clock()
    key = make.idempotency_key(now + HOUR)
    plans.see("add", lambda: store.add([make.submission(key=key)], now=now, wake_up_at=now))
    plans.see("add again", lambda: store.add([make.submission(key=key)], now=now, wake_up_at=now))
    plans.see("counts", store.counts)
    plans.see("backlog", store.backlog)
    assert plans.see("waiting_since", lambda: store.waiting_since(now + HOUR))
    assert plans.examined("waiting_since") <= 1
    plans.see("find_key", lambda: store.find_key("0123456789ab"))
    plans.see("list_keys", store.list_keys)
    plans.see("list_keys of one", lambda: store.list_keys(ACCOUNT))
    plans.see("revoke_key", lambda: store.revoke_key("0123456789ab", now=now))
    plans.see("ping", store.ping)


@pytest.mark.parametrize("part", [delivery, upkeep, moves, listing, rest], ids=lambda part: part.__name__)
def test_no_method_scans_a_collection_or_sorts_documents(
    store: MongoStore, plans: Plans, part: Callable[[MongoStore, Plans], None]
) -> None:
    part(store, plans)
    assert all(plans.of.values())
    assert plans.having("COLLSCAN") == set()
    sorted_in_memory = {name for name, seen in plans.of.items() if any(entry.get("hasSortStage") for entry in seen)}
    assert {name for name in sorted_in_memory if "subject" not in name and "all" not in name} == set()


def test_counting_looks_at_no_document(store: MongoStore, plans: Plans) -> None:
    assert sum(plans.see("counts", store.counts).values()) == EMAILS + AT_MOST
    assert plans.see("backlog", store.backlog) == EMAILS * 3 // 4 + AT_MOST
    assert plans.examined("counts") == plans.examined("backlog") == 0


def test_what_a_call_looks_at_does_not_grow_with_the_store(store: MongoStore, plans: Plans) -> None:
    delivery(store, plans)
    upkeep(store, plans)
    listing(store, plans)
    several = {name for name in plans.of if "all" in name}  # filters: what one leads to is looked up by the others
    assert max(map(plans.examined, several)) <= 20 * AT_MOST
    most = max(plans.of.keys() - several, key=plans.examined)
    assert plans.examined(most) <= 6 * AT_MOST, most  # recover looks for whoever still names an old lease


def test_look_for_due_emails_goes_through_few_that_have_expired(store: MongoStore, plans: Plans) -> None:
    now = store.clock()
    over = make.new_life(now - HOUR, expires_at=now)
    make.stored(store, now, *(make.email(now - HOUR, life=over) for _ in range(4 * PUT_OFF_AT_ONCE)))
    assert plans.see("first", lambda: store.claim_due(AT_MOST, worker="w", now=now, lease=LEASE)) == []
    assert plans.examined("first") <= 3 * (2 * PUT_OFF_AT_ONCE + AT_MOST)
    assert plans.see("next", lambda: store.claim_due(AT_MOST, worker="w", now=now, lease=LEASE))


def test_choosing_a_filter_takes_a_short_look_at_each(store: MongoStore, plans: Plans) -> None:
    listing(store, plans)
    keys = {name: sum(entry.get("keysExamined", 0) for entry in seen) for name, seen in plans.of.items()}
    in_order = {name: count for name, count in keys.items() if "subject" not in name and "all" not in name}
    assert max(in_order.values()) <= 100, keys
    assert max(keys.values()) <= 3 * EMAILS + 5 * 100, keys  # subjects are counted and put in order; four filters


def test_limit_of_zero_means_none(store: MongoStore) -> None:
    later = store.clock() + timedelta(days=9)
    assert store.claim_due(0, worker="w", now=later, lease=LEASE) == []
    assert store.due(0, now=later, wake_up_again_at=later) == {}
    assert store.recover(0, now=later, doubt_delay=SECOND, everything=True) == 0
    assert store.expire(0, now=later) == 0
    assert store.prune(0, now=later, finished_before=later) == 0
