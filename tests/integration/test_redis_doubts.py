"""Claims of which nobody heard whether Redis made them: they are given back, and never count as a crash."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import pytest

from postroom.errors import OutcomeUnknown
from postroom.mail.email import Email, Status
from postroom.store.redis import RedisStore, scripts, taking
from postroom.store.taking import Taking
from tests import make
from tests.make import LEASE, SECOND, found
from tests.servers.link import Link
from tests.servers.redis import RedisServer, Start

LIMIT_SECONDS = 3.2
CLAIM, GIVEN_BACK = scripts.CLAIM.sha.encode(), scripts.GIVE_BACK.sha.encode()


@pytest.fixture
def server(start_redis: Start) -> RedisServer:
    return start_redis(appendonly="no")


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    """The store of another process. Redis knows the scripts."""
    with closing(RedisStore(server.url, durability="relaxed")) as store:
        now = store.clock()
        [claim] = make.claimed(store, now, make.one(store, now))
        store.settle([make.sent(claim, now)], now=now)
        yield store


@pytest.fixture
def link(server: RedisServer) -> Iterator[Link]:
    with closing(Link(server.port)) as link:
        yield link


@pytest.fixture
def far_store(link: Link, store: RedisStore) -> Iterator[RedisStore]:
    """A store that reaches the server over the link."""
    with closing(RedisStore(f"redis://127.0.0.1:{link.port}/0", durability="relaxed")) as far:
        far.ping()
        yield far


def claimed_ids(store: RedisStore, now: datetime) -> list[str]:
    return [claim.email.id for claim in store.claim_due(10, worker="w1", now=now, lease=LEASE)]


def cut_off(link: Link, far_store: RedisStore, now: datetime, *, for_good: bool = False) -> None:
    """A claim whose answer is lost."""
    link.cut_after(CLAIM, for_good=for_good)
    with pytest.raises(OutcomeUnknown):
        far_store.claim_due(10, worker="w1", now=now, lease=LEASE)
    assert link.was_cut.is_set()


def recovered(store: RedisStore, now: datetime) -> int:
    return store.recover(10, now=now, doubt_delay=SECOND)


def test_claim_whose_answer_was_lost_is_given_back_at_once(
    link: Link, far_store: RedisStore, store: RedisStore
) -> None:
    now = store.clock()
    emails = make.stored(store, now, make.email(now), make.scheduled(now, now), make.email(now))
    before = store.counts()
    cut_off(link, far_store, now)
    assert [found(store, email) for email in emails] == emails
    assert store.counts() == before
    assert recovered(store, now + LEASE) == 0
    claims = make.claimed(store, now, *emails)
    assert [claim.email.life.attempts for claim in claims] == [1, 1, 1]


def test_healthy_email_does_not_fail_however_often_answers_are_lost(
    link: Link, far_store: RedisStore, store: RedisStore
) -> None:
    now = store.clock()
    email = make.one(store, now)
    for _ in range(4):
        cut_off(link, far_store, now)
        now += LEASE + SECOND
        recovered(store, now)
    life = found(store, email).life
    assert (life.status, life.attempts, life.crash_count) == (Status.QUEUED, 0, 0)


def test_what_cannot_be_given_back_at_once_is_with_the_next_claim(
    link: Link, far_store: RedisStore, store: RedisStore
) -> None:
    now = store.clock()
    email = make.one(store, now)
    cut_off(link, far_store, now, for_good=True)
    assert found(store, email).life.status is Status.SENDING
    link.mend()
    [claim] = far_store.claim_due(10, worker="w1", now=now + SECOND, lease=LEASE)
    assert (claim.email.id, claim.email.life.attempts) == (email.id, 1)
    assert far_store.settle([make.sent(claim, now)], now=now) == {email.id}


def test_what_cannot_be_given_back_at_once_is_when_other_leases_are_extended(
    link: Link, far_store: RedisStore, store: RedisStore
) -> None:
    now = store.clock()
    [held] = make.claimed(far_store, now, make.one(store, now))
    email = make.one(store, now)
    cut_off(link, far_store, now, for_good=True)
    link.mend()
    far_store.renew({held.email.id: held.token}, now=now + SECOND, lease=LEASE)
    assert found(store, email) == email
    assert recovered(store, now + LEASE) == 0
    assert recovered(store, now + SECOND + LEASE) == 1


def test_giving_back_that_was_cut_off_too_is_done_by_the_next_call(
    link: Link, far_store: RedisStore, store: RedisStore
) -> None:
    now = store.clock()
    email = make.one(store, now)
    link.before(GIVEN_BACK, lambda _: link.cut_after(GIVEN_BACK, deliver=False))
    cut_off(link, far_store, now)
    assert found(store, email).life.status is Status.SENDING
    link.before(GIVEN_BACK, lambda _: None)
    assert claimed_ids(far_store, now) == [email.id]


def test_claim_that_redis_carries_out_when_we_have_given_up_is_given_back(
    server: RedisServer, link: Link, far_store: RedisStore, store: RedisStore
) -> None:
    now = store.clock()
    email = make.one(store, now)
    link.before(CLAIM, lambda _: os.kill(server.pid, signal.SIGSTOP))
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="does not answer in time"):
        far_store.claim_due(10, worker="w1", now=now, lease=LEASE)
    assert time.monotonic() - began < LIMIT_SECONDS
    link.before(CLAIM, lambda _: None)
    os.kill(server.pid, signal.SIGCONT)
    assert found(store, email).life.status is Status.SENDING
    assert claimed_ids(far_store, now + SECOND) == [email.id]


def test_claim_that_arrives_after_we_have_looked_for_it_is_given_back(
    link: Link, far_store: RedisStore, store: RedisStore
) -> None:
    now = store.clock()
    email = make.one(store, now)
    link.cut_after(CLAIM, deliver=False)
    with pytest.raises(OutcomeUnknown):
        far_store.claim_due(10, worker="w1", now=now, lease=LEASE)
    assert found(store, email) == email
    [lost] = far_store._doubts._open
    with store._connections.session(writing=True) as session:
        taking._mark(session, ["normal"], 10, lost)
    assert found(store, email).life.status is Status.SENDING
    assert claimed_ids(far_store, now + SECOND) == [email.id]


def test_claim_that_never_reached_redis_is_forgotten_with_its_lease(
    link: Link, far_store: RedisStore, store: RedisStore
) -> None:
    now = store.clock()
    link.cut_after(CLAIM, deliver=False)
    with pytest.raises(OutcomeUnknown):
        far_store.claim_due(10, worker="w1", now=now, lease=LEASE)
    assert claimed_ids(far_store, now + LEASE - SECOND) == []
    assert far_store._doubts
    assert claimed_ids(far_store, now + LEASE) == []
    assert not far_store._doubts


def test_email_that_another_has_claimed_since_is_left_to_it(
    link: Link, far_store: RedisStore, store: RedisStore
) -> None:
    now = store.clock()
    email = make.one(store, now)
    cut_off(link, far_store, now, for_good=True)
    assert store.recover(10, now=now, doubt_delay=SECOND, everything=True) == 1
    [theirs] = make.claimed(store, now, email)  # its lease ends when the one in doubt would
    link.mend()
    assert claimed_ids(far_store, now + SECOND) == []
    assert store.fence({email.id: theirs.token}, now=now, lease=LEASE) == {email.id}


def test_claims_of_others_with_the_same_lease_are_left_to_them(
    link: Link, far_store: RedisStore, store: RedisStore
) -> None:
    now = store.clock()
    theirs = make.claimed(store, now, make.one(store, now))
    own = make.claimed(far_store, now, make.one(store, now))
    lost = make.one(store, now)
    cut_off(link, far_store, now)
    assert found(store, lost) == lost
    tokens = {claim.email.id: claim.token for claim in (*theirs, *own)}
    assert store.fence(tokens, now=now, lease=LEASE) == set(tokens)


def test_what_an_earlier_step_of_the_call_brought_is_kept(link: Link, far_store: RedisStore, store: RedisStore) -> None:
    now = store.clock()
    emails: list[Email] = [make.one(store, now, html="x" * 700_000) for _ in range(3)]
    steps: list[bytes] = []

    def cut_the_second(request: bytes) -> None:
        steps.append(request)
        if len(steps) == 2:
            link.cut_after(CLAIM)

    link.before(CLAIM, cut_the_second)
    claims = far_store.claim_due(10, worker="w1", now=now, lease=LEASE)
    assert link.was_cut.is_set()
    assert [claim.email.id for claim in claims] == [email.id for email in emails[:2]]
    assert found(store, emails[2]) == emails[2]
    tokens = {claim.email.id: claim.token for claim in claims}
    assert far_store.fence(tokens, now=now, lease=LEASE) == set(tokens)


def test_more_than_a_store_remembers_lapse(store: RedisStore) -> None:
    for _ in range(1000):
        store._doubts.add(Taking(worker="w", now=store.clock(), lease=LEASE))
    assert len(store._doubts._open) == 100
