"""What Lua must read of an email in Redis may be damaged or missing: it is reported, put off, and harms no other."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime

import pytest

from postroom.errors import StoreError
from postroom.mail import milliseconds
from postroom.mail.email import Email, Lane, Status
from postroom.store.base import Query
from postroom.store.redis import RedisStore
from postroom.store.redis.records import STATES
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND, found

CLAIMS = "postroom:claims"
PAUSE = 61 * SECOND  # after it what could not be read is tried again
NO_NUMBERS = "queued\0x\0y\0z\0normal\0default"
FAR = milliseconds.of(make.now() + 1000 * HOUR)
DAMAGES: dict[str, str | None] = {
    "missing": None,
    "empty": "",
    "word": "x",
    "too short": f"queued\0{FAR}",
    "no numbers": NO_NUMBERS,
}
MISLEADING = {
    "status": f"unheard-of\0{FAR}\0{FAR}\0{10}\0normal\0default",
    "ended": f"sent\0{FAR}\0{FAR}\0{10}\0normal\0default",
    "lane": f"queued\0{FAR}\0{FAR}\0{10}\0urgent\0default",
}


@pytest.fixture
def store(empty_redis: Callable[[], str]) -> Iterator[RedisStore]:
    with closing(RedisStore(empty_redis())) as store:
        yield store


def stored(store: RedisStore, now: datetime, count: int) -> list[Email]:
    """Emails that are due one after the other."""
    return make.stored(store, now, *(make.email(now - (count - i) * SECOND) for i in range(count)))


def damage(store: RedisStore, email: Email, value: str | bytes | None, key: str = STATES) -> bytes:
    """Puts this in the place of what the hash has of the email, or nothing; brings what was there."""
    with store._connections.session(writing=True) as session:
        before: bytes = session.ask("HGET", key, email.id)
        command = ("HDEL", key, email.id) if value is None else ("HSET", key, email.id, value)
        session.write(command, durable=False)
    return before


def claimed_ids(store: RedisStore, now: datetime, limit: int = 10) -> list[str]:
    return [claim.email.id for claim in store.claim_due(limit, worker="w1", now=now, lease=LEASE)]


def recover(store: RedisStore, now: datetime) -> int:
    return store.recover(10, now=now, doubt_delay=SECOND)


def reported(caplog: pytest.LogCaptureFixture) -> set[str]:
    """The ids of emails that were said to be unreadable since the last time."""
    told = {vars(record)["email_id"] for record in caplog.records if record.getMessage() == "email unreadable"}
    caplog.clear()
    return told


@pytest.mark.parametrize("value", [*DAMAGES.values(), *MISLEADING.values()], ids=[*DAMAGES, *MISLEADING])
def test_claim_of_what_is_due_brings_the_others(
    store: RedisStore, caplog: pytest.LogCaptureFixture, value: str | None
) -> None:
    now = store.clock()
    damaged, *sound = stored(store, now, 3)
    damage(store, damaged, value)
    assert claimed_ids(store, now) == [email.id for email in sound]
    assert reported(caplog) == {damaged.id}
    assert claimed_ids(store, now + 59 * SECOND) == []
    assert reported(caplog) == set()
    assert claimed_ids(store, now + PAUSE) == []
    assert reported(caplog) == {damaged.id}


@pytest.mark.parametrize("value", DAMAGES.values(), ids=DAMAGES)
def test_claim_of_named_emails_brings_the_others(
    store: RedisStore, caplog: pytest.LogCaptureFixture, value: str | None
) -> None:
    now = store.clock()
    damaged, *sound = stored(store, now, 3)
    damage(store, damaged, value)
    wanted = [sound[1].id, damaged.id, sound[0].id]
    claims = store.claim(wanted, worker="w1", now=now, lease=LEASE)
    assert [claim.email.id for claim in claims] == [sound[1].id, sound[0].id]
    assert reported(caplog) == {damaged.id}
    assert store.claim(wanted, worker="w1", now=now, lease=LEASE) == []
    assert reported(caplog) == set()


def test_many_at_the_front_do_not_keep_others_from_being_claimed(store: RedisStore) -> None:
    now = store.clock()
    *damaged, last = stored(store, now, 5)
    for email in damaged:
        damage(store, email, None)
    assert [email_id for _ in range(3) for email_id in claimed_ids(store, now, limit=2)] == [last.id]


@pytest.mark.parametrize("value", [*DAMAGES.values(), *MISLEADING.values()], ids=[*DAMAGES, *MISLEADING])
def test_what_is_mended_is_claimed_after_the_pause_as_if_for_the_first_time(
    store: RedisStore, value: str | None
) -> None:
    now = store.clock()
    [email] = stored(store, now, 1)
    before, counts = damage(store, email, value), store.counts()
    assert claimed_ids(store, now) == []
    damage(store, email, before)
    assert found(store, email) == email
    assert store.counts() == counts
    [claim] = store.claim_due(10, worker="w1", now=now + PAUSE, lease=LEASE)
    assert claim.email.life.attempts == 1
    assert store.settle([make.sent(claim, now)], now=now) == {email.id}


@pytest.mark.parametrize("value", DAMAGES.values(), ids=DAMAGES)
def test_due_publishes_the_others_however_many_are_before_them(
    store: RedisStore, caplog: pytest.LogCaptureFixture, value: str | None
) -> None:
    now = store.clock()
    *damaged, last = make.stored(store, now, *(make.scheduled(now, now + (1 + i) * SECOND) for i in range(5)))
    for email in damaged:
        damage(store, email, value)
    later = now + HOUR
    published = [store.due(2, now=later, wake_up_again_at=later + HOUR).get(Lane.NORMAL, []) for _ in range(4)]
    assert last.id in [email_id for some in published for email_id in some]
    assert published[3] == []
    assert found(store, last).life.status is Status.QUEUED
    if value != NO_NUMBERS:  # for a claim of it to find out
        assert reported(caplog) == {email.id for email in damaged}


def test_what_was_put_off_by_a_claim_does_not_stand_before_others_that_are_to_be_published(store: RedisStore) -> None:
    now = store.clock()
    *damaged, last = stored(store, now, 3)
    for email in damaged:
        damage(store, email, None)
    assert claimed_ids(store, now, limit=2) == []
    later = now + 20 * SECOND
    assert store.due(2, now=later, wake_up_again_at=later + HOUR) == {Lane.NORMAL: [last.id]}


@pytest.mark.parametrize("value", ["", "x", "x\0y", NO_NUMBERS], ids=["empty", "word", "too short", "no numbers"])
def test_recover_brings_back_the_others_and_pauses(
    store: RedisStore, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    now = store.clock()
    damaged, *sound = stored(store, now, 3)
    make.claimed(store, now, damaged, *sound)
    before = damage(store, damaged, value, CLAIMS)
    now += LEASE
    assert recover(store, now) == 2
    assert reported(caplog) == {damaged.id}
    assert recover(store, now + SECOND) == 0
    assert reported(caplog) == set()
    assert [found(store, email).life.status for email in sound] == [Status.QUEUED, Status.QUEUED]
    damage(store, damaged, before, CLAIMS)
    assert recover(store, now + PAUSE) == 1


def test_recover_passes_over_a_claim_that_does_not_say_what_its_email_was(
    store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    damaged, sound = stored(store, now, 2)
    claims = make.claimed(store, now, damaged, sound)
    damage(store, damaged, damage(store, damaged, "", CLAIMS).partition(b"queued")[0] + b"x", CLAIMS)
    assert recover(store, now + LEASE) == 1
    assert reported(caplog) == {damaged.id}
    assert store.settle([make.sent(claims[0], now)], now=now) == set()


@pytest.mark.parametrize("value", DAMAGES.values(), ids=DAMAGES)
def test_expire_fails_the_others(store: RedisStore, value: str | None) -> None:
    now = store.clock()
    damaged, *sound = stored(store, now, 3)
    damage(store, damaged, value)
    store.expire(10, now=now + 100 * HOUR)
    assert [found(store, email).life.status for email in sound] == [Status.FAILED, Status.FAILED]


@pytest.mark.parametrize("value", [*DAMAGES.values(), "sent\0x\0y\0z\0normal\0default"], ids=[*DAMAGES, "ended"])
def test_prune_deletes_the_others(store: RedisStore, value: str | None) -> None:
    now = store.clock()
    damaged, *sound = stored(store, now, 3)
    store.settle([make.sent(claim, now) for claim in make.claimed(store, now, damaged, *sound)], now=now)
    damage(store, damaged, value)
    assert store.prune(10, now=now + HOUR, finished_before=now + HOUR) == 2
    assert [store.get(ACCOUNT, email.id) for email in sound] == [None, None]


def test_ended_email_that_does_not_say_when_is_reported_and_stays(
    store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    [email] = stored(store, now, 1)
    store.settle([make.sent(claim, now) for claim in make.claimed(store, now, email)], now=now)
    damage(store, email, "sent\0x\0y\0z\0normal\0default")
    for _ in range(2):
        assert store.prune(10, now=now + HOUR, finished_before=now + HOUR) == 0
    assert reported(caplog) == {email.id}
    assert found(store, email).life.status is Status.SENT


def test_claims_that_are_fenced_with_a_damaged_one_hold(store: RedisStore) -> None:
    now = store.clock()
    damaged, sound = make.claimed(store, now, *stored(store, now, 2))
    damage(store, damaged.email, f"{damaged.token}\0x\0{0}\0{FAR}\0w1\0{NO_NUMBERS}", CLAIMS)
    tokens = {claim.email.id: claim.token for claim in (damaged, sound)}
    assert store.fence(tokens, now=now, lease=LEASE) == {sound.email.id}


@pytest.mark.parametrize("value", ["x", f"queued\0{FAR}"], ids=["word", "too short"])
def test_who_asks_for_it_alone_is_told(store: RedisStore, value: str) -> None:
    now = store.clock()
    [damaged] = stored(store, now, 1)
    damage(store, damaged, value)
    for ask in (
        lambda: store.get(ACCOUNT, damaged.id),
        lambda: store.get_many({(ACCOUNT, damaged.id)}),
        lambda: store.cancel(ACCOUNT, damaged.id, now=now),
        lambda: store.list(Query(account=ACCOUNT, limit=1, after=damaged.id)),
    ):
        with pytest.raises(StoreError, match=f"email {damaged.id} is damaged in the store"):
            ask()
