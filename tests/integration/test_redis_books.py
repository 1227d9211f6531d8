"""Emails and their indexes in Redis agree whatever is done to them, and a pruned email leaves nothing behind."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from postroom.errors import WrongState
from postroom.mail import milliseconds
from postroom.mail.email import Email, Lane, OnUncertain
from postroom.mail.lifecycle import CLAIMABLE, FINAL
from postroom.store.base import Claim, Query, Submission
from postroom.store.redis import RedisStore, records
from postroom.store.redis.records import Record
from postroom.store.taking import PUT_OFF_FOR
from tests import make
from tests.make import HOUR, LEASE, SECOND
from tests.servers.redis import RedisServer, Start

STEPS = 300
HASHES = ("states", "lives", "submitted", "bodies")  # as a record has them
DURATIONS = [timedelta(milliseconds=1), SECOND, 20 * SECOND, 40 * SECOND, HOUR, 30 * HOUR]


class Story:
    """Random but repeatable things that happen to a store while time goes on."""

    def __init__(self, store: RedisStore, seed: int) -> None:
        self.store = store
        self.dice = random.Random(seed)
        self.now = store.clock()
        self.ids: list[str] = []
        self.claims: list[Claim] = []
        self.old: list[Claim] = []

    def step(self) -> None:
        """One thing happens."""
        self.now += self.dice.choice(DURATIONS[:4] if self.dice.random() < 0.97 else DURATIONS)
        happening = self.dice.choice([self.add, self.claim, self.settle, self.sweep, self.move, self.hold])
        happening()

    def add(self) -> None:
        """A client submits."""
        emails = [self._email() for _ in range(self.dice.randint(1, 4))]
        key = make.idempotency_key(self.now + HOUR, key=str(self.dice.randint(1, 9)))
        submission: Submission = make.submission(*emails, key=key if self.dice.random() < 0.3 else None)
        self.store.add([submission], now=self.now, wake_up_at=self.now + 15 * SECOND)
        self.ids += [email.id for email in emails]

    def claim(self) -> None:
        """A worker takes some, one way or the other."""
        if self.dice.random() < 0.5:
            self.claims += self.store.claim(self._some(), worker="w1", now=self.now, lease=LEASE)
        else:
            lowest = self.dice.choice(list(Lane))
            self.claims += self.store.claim_due(3, lowest=lowest, worker="w2", now=self.now, lease=LEASE)

    def hold(self) -> None:
        """A worker goes on."""
        tokens = {claim.email.id: claim.token for claim in self.claims if self.dice.random() < 0.5}
        if self.dice.random() < 0.5:
            self.store.fence(tokens, now=self.now, lease=LEASE)
        else:
            self.store.renew(tokens, now=self.now, lease=LEASE)

    def settle(self) -> None:
        """A worker ends, in time or late."""
        self.dice.shuffle(self.claims)
        ended, self.claims = self.claims[:3], self.claims[3:]
        self.store.settle([self._outcome(claim) for claim in ended], now=self.now)
        self.store.settle_late([make.sent(claim, self.now) for claim in self.old], now=self.now)
        self.old = ended

    def sweep(self) -> None:
        """Upkeep."""
        self.store.due(10, now=self.now, wake_up_again_at=self.now + 15 * SECOND)
        self.store.recover(10, now=self.now, doubt_delay=60 * SECOND)
        self.store.expire(10, now=self.now)
        self.store.prune(2, now=self.now, finished_before=self.now - HOUR)

    def move(self) -> None:
        """A sender changes their mind."""
        for email_id in self._some():
            if self.store.get(make.ACCOUNT, email_id) is None:
                continue
            with suppress(WrongState):
                self._move(email_id)

    def end(self) -> None:
        """All claims lapse, all emails expire, all are pruned."""
        self.now += 1000 * HOUR
        self.store.recover(1000, now=self.now, doubt_delay=SECOND, everything=True)
        for email in self.store.list(Query(account=make.ACCOUNT, limit=1000, status=["uncertain"])).emails:
            again = self.now + SECOND
            self.store.retry(make.ACCOUNT, email.id, now=self.now, max_age=SECOND, wake_up_at=again)
        self.now += 1000 * HOUR
        self.store.expire(1000, now=self.now)
        for _ in range(2):  # the second finds nothing, and clears what is left of the indexes
            self.store.recover(1000, now=self.now, doubt_delay=SECOND)
            self.store.prune(1000, now=self.now, finished_before=self.now + SECOND)

    def _email(self) -> Email:
        lane, on_uncertain = self.dice.choice(list(Lane)), self.dice.choice(list(OnUncertain))
        changes: dict[str, Any] = {"lane": lane, "on_uncertain": on_uncertain, "subject": self.dice.choice("abc")}
        changes["tags"] = (("campaign", self.dice.choice("xy")),) if self.dice.random() < 0.5 else ()
        changes["attachments"] = (make.attachment(b"1"),) if self.dice.random() < 0.2 else ()
        if self.dice.random() < 0.3:
            return make.scheduled(self.now, self.now + self.dice.choice(DURATIONS), **changes)
        return make.email(self.now, **changes)

    def _some(self) -> list[str]:
        return self.dice.sample(self.ids, min(3, len(self.ids)))

    def _outcome(self, claim: Claim) -> Any:
        if self.dice.random() < 0.5:
            return make.sent(claim, self.now)
        return make.retrying(claim, self.now, self.now + self.dice.choice(DURATIONS))

    def _move(self, email_id: str) -> None:
        account, choice = make.ACCOUNT, self.dice.randint(1, 3)
        if choice == 1:
            self.store.cancel(account, email_id, now=self.now)
        elif choice == 2:
            self.store.reschedule(account, email_id, self.now + self.dice.choice(DURATIONS), now=self.now)
        else:
            self.store.retry(account, email_id, now=self.now, max_age=HOUR, wake_up_at=self.now + SECOND)


Indexes = dict[str, dict[str, float]]


class Books:
    """What a server holds at one moment."""

    def __init__(self, server: RedisServer) -> None:
        kept = {name: server.fields(f"postroom:{name}") for name in HASHES}
        self.ids = [fields.keys() for fields in kept.values()]
        self.emails = {email_id: {name: kept[name].get(email_id, "") for name in HASHES} for email_id in kept["states"]}
        self.claims = {email_id: claim.split("\0") for email_id, claim in server.fields("postroom:claims").items()}
        self.indexes: Indexes = {
            key.removeprefix("postroom:"): server.scores(key)
            for key in server.keys("postroom:*")
            if server.ask("TYPE", key) == b"zset"
        }

    def kept(self, *prefixes: str) -> Indexes:
        """The indexes whose names begin so."""
        return {name: index for name, index in self.indexes.items() if name.startswith(prefixes)}

    def expected(self) -> Indexes:
        """What those indexes must hold that follow from the emails alone."""
        indexes: Indexes = defaultdict(dict)
        for email_id, fields in self.emails.items():
            status, _, expires_at, _, lane, account = fields["states"].split("\0")
            indexes[f"listed:{status}:{account}"][email_id] = 0
            for term in records.terms(email_of(email_id, fields)):
                indexes[f"terms:{account}"][f"{term}\0{email_id}"] = 0
            if status in CLAIMABLE and email_id not in self.claims:
                indexes["deadlines"][email_id] = float(expires_at)
                due, kept = milliseconds.of(due_of(email_id, fields)), self.indexes[f"due:{lane}"].get(email_id, 0)
                put_off = kept >= float(expires_at) + PUT_OFF_FOR / (SECOND / 1000)
                indexes[f"due:{lane}"][email_id] = kept if put_off else due
        return indexes

    def counted(self) -> Counter[str]:
        """How many emails there are of each status."""
        return Counter("sending" if i in self.claims else status_of(fields) for i, fields in self.emails.items())


def email_of(email_id: str, fields: dict[str, str]) -> Email:
    """An email from its hash."""
    return records.email_of(Record(email_id.encode(), None, *(fields[name].encode() for name in HASHES)))


def due_of(email_id: str, fields: dict[str, str]) -> datetime:
    """When its next attempt is due."""
    due = email_of(email_id, fields).life.next_attempt_at
    assert due
    return due


def status_of(fields: dict[str, str]) -> str:
    """Its status, but for a claim."""
    return fields["states"].partition("\0")[0]


def in_rows(index: dict[str, float]) -> dict[str, list[float]]:
    """The scores of each email in the rows of an index."""
    scores: dict[str, list[float]] = defaultdict(list)
    for row, score in index.items():
        for start in range(0, len(row), 36):
            scores[row[start : start + 36]].append(score)
    return scores


def check(server: RedisServer, store: RedisStore) -> None:
    """Whether everything in Redis agrees."""
    books = Books(server)
    assert all(ids == books.emails.keys() for ids in books.ids)
    assert books.kept("listed:", "terms:", "due:", "deadlines") == books.expected()
    assert {str(status): count for status, count in store.counts().items() if count} == books.counted()
    waiting = {i for i, fields in books.emails.items() if status_of(fields) in CLAIMABLE and i not in books.claims}
    assert {email_id for index in books.kept("wake:").values() for email_id in index} == waiting
    leases = in_rows(books.indexes.get("leases", {}))
    assert all(min(leases[email_id]) <= float(claim[1]) for email_id, claim in books.claims.items())
    finished = in_rows(books.indexes.get("finished", {}))
    ended = {i: float(f["states"].split("\0")[1]) for i, f in books.emails.items() if status_of(f) in FINAL}
    assert all(since in finished[email_id] for email_id, since in ended.items())
    assert books.claims.keys() <= books.emails.keys()


@pytest.fixture
def server(start_redis: Start) -> RedisServer:
    """One that is quick: nothing is killed here."""
    return start_redis(appendonly="no")


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    store = RedisStore(server.url, durability="relaxed")
    yield store
    store.close()


@pytest.mark.parametrize("seed", range(6))
def test_indexes_and_emails_agree_whatever_happens(server: RedisServer, store: RedisStore, seed: int) -> None:
    story = Story(store, seed)
    for serial in range(STEPS):
        story.step()
        if serial % 25 == 0:
            check(server, store)
    story.end()
    assert sum(store.counts().values()) == 0
    kept = {key for key in server.keys("*") if not key.startswith("postroom:idempotency:")}
    assert kept <= {"postroom:counts", "postroom:layout", "postroom:pulse"}
    assert all(server.ask("PTTL", key) > 0 for key in server.keys("postroom:idempotency:*"))


def test_claim_lapses_in_time_when_its_fence_has_a_shorter_lease(store: RedisStore) -> None:
    now = store.clock()
    [claim] = make.claimed(store, now, *make.stored(store, now, make.email(now)))
    store.fence({claim.email.id: claim.token}, now=now, lease=SECOND)
    assert store.recover(10, now=now + SECOND, doubt_delay=SECOND) == 1


def test_upkeep_finds_a_lapse_behind_many_claims_that_have_ended(store: RedisStore) -> None:
    now = store.clock()
    for _ in range(120):  # more rows than are looked through at once
        [claim] = make.claimed(store, now, *make.stored(store, now, make.email(now)))
        store.settle([make.sent(claim, now)], now=now)
    make.claimed(store, now + SECOND, *make.stored(store, now, make.email(now)))
    assert store.recover(10, now=now + HOUR, doubt_delay=SECOND) == 1
