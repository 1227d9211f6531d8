"""Emails and their indexes in Redis agree whatever is done to them, and a pruned email leaves nothing behind."""

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from postroom.errors import WrongState
from postroom.mail.email import Email, Lane, OnUncertain
from postroom.mail.lifecycle import CLAIMABLE, FINAL
from postroom.store.base import Claim, Query, Submission
from postroom.store.redis import RedisStore, times
from tests import make
from tests.make import HOUR, LEASE, SECOND
from tests.servers.redis import RedisServer, Start

STEPS = 300
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
        happening = self.dice.choice([self.add, self.claim, self.settle, self.sweep, self.wish, self.hold])
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

    def wish(self) -> None:
        """A sender changes their mind."""
        for email_id in self._some():
            if self.store.get(make.ACCOUNT, email_id) is None:
                continue
            with suppress(WrongState):
                self._wish(email_id)

    def end(self) -> None:
        """All claims lapse, all emails expire, all are pruned."""
        self.now += 1000 * HOUR
        self.store.recover(1000, now=self.now, doubt_delay=SECOND, everything=True)
        for email in self.store.list(Query(account=make.ACCOUNT, limit=1000, status=["uncertain"])).emails:
            again = self.now + SECOND
            self.store.retry(make.ACCOUNT, email.id, now=self.now, max_age=SECOND, wake_up_at=again)
        self.now += 1000 * HOUR
        self.store.expire(1000, now=self.now)
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

    def _wish(self, email_id: str) -> None:
        account, wish = make.ACCOUNT, self.dice.randint(1, 3)
        if wish == 1:
            self.store.cancel(account, email_id, now=self.now)
        elif wish == 2:
            self.store.reschedule(account, email_id, self.now + self.dice.choice(DURATIONS), now=self.now)
        else:
            self.store.retry(account, email_id, now=self.now, max_age=HOUR, wake_up_at=self.now + SECOND)


Indexes = dict[str, dict[str, float]]


def expected_indexes(server: RedisServer) -> Indexes:
    """What follows from the emails alone."""
    indexes: Indexes = defaultdict(dict)
    for key in server.keys("postroom:email:*"):
        email_id, fields = key.removeprefix("postroom:email:"), server.fields(key)
        status, account = fields["status"], fields["account"]
        indexes[f"listed:{status}:{account}"][email_id] = 0
        if status in CLAIMABLE:
            indexes[f"due:{fields['lane']}"][email_id] = float(fields["next_attempt_at"])
            indexes["deadlines"][email_id] = float(fields["expires_at"])
        if status == "sending":
            indexes["leases"][email_id] = float(fields["lease_until"])
        assert ("token" in fields) == (status == "sending")
    return indexes


def actual_indexes(server: RedisServer, *prefixes: str) -> Indexes:
    """Those sorted sets as they are."""
    keys = [key for prefix in prefixes for key in server.keys(f"postroom:{prefix}*")]
    return {key.removeprefix("postroom:"): server.scores(key) for key in keys}


def check(server: RedisServer, store: RedisStore, now: datetime) -> None:
    """Whether everything in Redis agrees."""
    assert actual_indexes(server, "listed:", "due:", "deadlines", "leases") == expected_indexes(server)
    emails = [fields for key in server.keys("postroom:email:*") if (fields := server.fields(key))]
    for status, count in store.counts().items():
        assert count == sum(fields["status"] == status for fields in emails)
    waiting = sum(fields["status"] in CLAIMABLE for fields in emails)
    assert sum(len(members) for members in actual_indexes(server, "wake:").values()) == waiting
    ended = sum(fields["status"] in FINAL for fields in emails)
    finished = actual_indexes(server, "finished").get("finished", {})
    assert len(finished) == ended
    assert all(score <= times.to_ms(now) for score in finished.values())
    assert sum(len(members) for members in actual_indexes(server, "subject:").values()) == len(emails)


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
            check(server, store, story.now)
    story.end()
    assert sum(store.counts().values()) == 0
    assert set(server.keys("*")) <= {"postroom:counts", "postroom:layout", "postroom:pulse"}
