"""Every store: a record that cannot be read is reported, left as it is, and harms no other."""

from collections.abc import Callable, Sequence
from datetime import datetime

import pytest

from postroom.errors import StoreError
from postroom.mail.email import Email, Lane, Status
from postroom.store.base import Query, Store
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND, found

Rewrite = Callable[[str, str], None]
UNKNOWN = "unheard-of"
PAUSE = 61 * SECOND  # after it what could not be read is tried again


def stored(store: Store, now: datetime, rewrite: Rewrite, *, damaged: int = 1, sound: int = 2) -> list[Email]:
    """Stores emails that are due one after the other; the first ones cannot be read."""
    emails = make.stored(store, now, *(make.email(now - (9 - i) * SECOND) for i in range(damaged + sound)))
    for email in emails[:damaged]:
        rewrite(email.id, UNKNOWN)
    return emails


def ids(emails: Sequence[Email]) -> list[str]:
    return [email.id for email in emails]


def claimed_ids(store: Store, now: datetime, limit: int = 10) -> list[str]:
    return [claim.email.id for claim in store.claim_due(limit, worker="w", now=now, lease=LEASE)]


def recover(store: Store, now: datetime, limit: int = 10) -> int:
    return store.recover(limit, now=now, doubt_delay=SECOND)


def reported(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {vars(record)["email_id"] for record in caplog.records if record.getMessage() == "email unreadable"}


def test_who_asks_for_it_alone_is_told(store: Store, rewrite: Rewrite) -> None:
    now = store.clock()
    [damaged] = stored(store, now, rewrite, sound=0)
    for ask in (
        lambda: store.get(ACCOUNT, damaged.id),
        lambda: store.get_many({(ACCOUNT, damaged.id)}),
        lambda: store.cancel(ACCOUNT, damaged.id, now=now),
    ):
        with pytest.raises(
            StoreError, match=f"email {damaged.id} is damaged in the store, or of a newer Postroom: KeyError"
        ):
            ask()


def test_claim_of_named_emails_brings_the_others(
    store: Store, rewrite: Rewrite, caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    damaged, *sound = stored(store, now, rewrite)
    wanted = [sound[1].id, damaged.id, sound[0].id]
    claims = store.claim(wanted, worker="w", now=now, lease=LEASE)
    assert [claim.email.id for claim in claims] == [sound[1].id, sound[0].id]
    assert reported(caplog) == {damaged.id}
    assert "unheard-of" in caplog.records[-1].__dict__["reason"]
    assert store.claim(wanted, worker="w", now=now, lease=LEASE) == []


def test_claim_of_what_is_due_brings_the_others(
    store: Store, rewrite: Rewrite, caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    damaged, *sound = stored(store, now, rewrite)
    assert claimed_ids(store, now) == ids(sound)
    assert reported(caplog) == {damaged.id}


def test_many_at_the_front_do_not_keep_others_from_being_claimed(store: Store, rewrite: Rewrite) -> None:
    now = store.clock()
    *_, last = stored(store, now, rewrite, damaged=4, sound=1)
    assert [email_id for _ in range(3) for email_id in claimed_ids(store, now, limit=2)] == [last.id]


def test_it_is_put_off_and_stays_what_it_was_for_who_can_read_it(
    store: Store, rewrite: Rewrite, caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    due = now + HOUR
    emails = make.stored(store, now, make.email(due), make.scheduled(now, due), make.email(now))
    [claim] = make.claimed(store, now, emails[2])
    store.settle([make.retrying(claim, now, due)], now=now)
    before = [found(store, email) for email in emails]
    for email in emails:
        rewrite(email.id, UNKNOWN)
    for _ in range(5):
        caplog.clear()
        assert claimed_ids(store, due) == []
        assert reported(caplog) == set(ids(emails))
        caplog.clear()
        assert claimed_ids(store, due + PAUSE - 2 * SECOND) == []
        assert recover(store, due + LEASE) == 0
        assert reported(caplog) == set()
        due += PAUSE
    store.ping()
    for email in before:
        rewrite(email.id, email.life.recipients[0].status)
    assert [found(store, email) for email in emails] == before
    assert len(make.claimed(store, due, *emails)) == 3


def test_it_is_published_again_after_the_pause(store: Store, rewrite: Rewrite) -> None:
    now = store.clock()
    [damaged] = stored(store, now, rewrite, sound=0)
    assert claimed_ids(store, now) == []
    assert store.due(10, now=now + LEASE, wake_up_again_at=now + HOUR) == {}
    assert store.due(10, now=now + PAUSE, wake_up_again_at=now + HOUR) == {Lane.NORMAL: [damaged.id]}


def test_recover_brings_back_the_others_and_pauses(
    store: Store, rewrite: Rewrite, caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    damaged, *sound = stored(store, now, rewrite, damaged=0, sound=3)
    make.claimed(store, now, damaged, *sound)
    rewrite(damaged.id, UNKNOWN)
    now += LEASE
    assert recover(store, now) == 2
    assert reported(caplog) == {damaged.id}
    caplog.clear()
    assert recover(store, now + SECOND) == 0
    assert reported(caplog) == set()
    assert [found(store, email).life.status for email in sound] == [Status.QUEUED, Status.QUEUED]


def test_recover_everything_ends_with_it(store: Store, rewrite: Rewrite) -> None:
    now = store.clock()
    damaged, *sound = stored(store, now, rewrite, damaged=0, sound=3)
    make.claimed(store, now, damaged, *sound)
    rewrite(damaged.id, UNKNOWN)
    recovered = [store.recover(10, now=now, doubt_delay=SECOND, everything=True) for _ in range(2)]
    assert recovered == [2, 0]


def test_many_at_the_front_do_not_keep_others_from_being_recovered(store: Store, rewrite: Rewrite) -> None:
    now = store.clock()
    *damaged, last = stored(store, now, rewrite, damaged=0, sound=5)
    for i, email in enumerate((*damaged, last)):
        make.claimed(store, now + i * SECOND, email)
    for email in damaged:
        rewrite(email.id, UNKNOWN)
    assert sum(recover(store, now + HOUR, limit=2) for _ in range(3)) == 1
    assert found(store, last).life.status is Status.QUEUED


def test_expire_fails_the_others_however_many_are_before_them(
    store: Store, rewrite: Rewrite, caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    *damaged, last = stored(store, now, rewrite, damaged=4, sound=1)
    assert store.expire(2, now=now + 100 * HOUR) == 1
    assert found(store, last).life.status is Status.FAILED
    assert reported(caplog) == set(ids(damaged))
    assert store.counts()[Status.QUEUED] == 4
    rewrite(damaged[0].id, "queued")
    assert store.expire(2, now=now + 100 * HOUR + PAUSE) == 1


def test_deadline_of_it_is_looked_at_once_a_minute(
    store: Store, rewrite: Rewrite, caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    [damaged] = stored(store, now, rewrite, sound=0)
    for seconds, lines in ((0, 1), (1, 1), (59, 1), (61, 2)):
        assert store.expire(10, now=damaged.life.expires_at + seconds * SECOND) == 0
        assert caplog.text.count("email unreadable") == lines


def test_due_publishes_the_others_however_many_are_before_them(
    store: Store, rewrite: Rewrite, caplog: pytest.LogCaptureFixture
) -> None:
    now = store.clock()
    emails = make.stored(store, now, *(make.scheduled(now, now + (1 + i) * SECOND) for i in range(5)))
    *damaged, last = emails
    for email in damaged:
        rewrite(email.id, UNKNOWN)
    later = now + HOUR
    published = [store.due(2, now=later, wake_up_again_at=later + HOUR).get(Lane.NORMAL, []) for _ in range(4)]
    assert last.id in [email_id for some in published for email_id in some]
    assert published[3] == []
    assert reported(caplog) == set(ids(damaged))
    assert found(store, last).life.status is Status.QUEUED
    assert store.counts()[Status.SCHEDULED] == 4


def test_prune_needs_not_read_what_it_deletes(store: Store, rewrite: Rewrite) -> None:
    now = store.clock()
    emails = stored(store, now, rewrite, damaged=0, sound=3)
    for email in emails:
        store.cancel(ACCOUNT, email.id, now=now)
    rewrite(emails[1].id, UNKNOWN)
    assert store.prune(10, now=now + HOUR, finished_before=now + HOUR) == 3
    assert sum(store.counts().values()) == 0


@pytest.mark.parametrize("query", [{}, {"to": "anna@example.com"}, {"subject": "Hel"}, {"status": [Status.QUEUED]}])
def test_pages_have_the_others(
    store: Store, rewrite: Rewrite, caplog: pytest.LogCaptureFixture, query: dict[str, object]
) -> None:
    now = store.clock()
    emails = stored(store, now, rewrite, damaged=0, sound=6)
    sound = [emails[0], emails[4]]
    for email in emails:
        if email not in sound:
            rewrite(email.id, UNKNOWN)
    whole = store.list(Query(account=ACCOUNT, limit=10, **query))  # type: ignore[arg-type]
    assert [email.id for email in whole.emails] == [emails[4].id, emails[0].id]
    assert reported(caplog) == set(ids(emails)) - set(ids(sound))
    first = store.list(Query(account=ACCOUNT, limit=1, **query))  # type: ignore[arg-type]
    assert ids(first.emails) == [emails[4].id]
    assert first.has_more
    second = store.list(Query(account=ACCOUNT, limit=1, after=emails[4].id, **query))  # type: ignore[arg-type]
    assert ids(second.emails) == [emails[0].id]
    back = store.list(Query(account=ACCOUNT, limit=1, before=emails[0].id, **query))  # type: ignore[arg-type]
    assert ids(back.emails) == [emails[4].id]


def test_settlement_of_its_claim_replaces_it(store: Store, rewrite: Rewrite) -> None:
    now = store.clock()
    emails = stored(store, now, rewrite, damaged=0, sound=2)
    claims = make.claimed(store, now, *emails)
    rewrite(emails[0].id, UNKNOWN)
    settlements = [make.sent(claim, now) for claim in claims]
    assert store.settle(settlements, now=now) == set(ids(emails))
    assert [found(store, email).life.status for email in emails] == [Status.SENT, Status.SENT]
