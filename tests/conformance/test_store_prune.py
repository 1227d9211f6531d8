"""Every store: the sweep deletes emails that ended long ago, with all that belongs to them, and nothing else."""

from msgspec.structs import replace

from postroom.mail.email import OnUncertain, Status
from postroom.store.base import Store
from tests import make
from tests.make import ACCOUNT, HOUR, LEASE, SECOND, found, one


def test_only_emails_that_ended_before_the_time_are_deleted(store: Store) -> None:
    now = store.clock()
    old, recent, waiting = one(store, tags=(("kind", "a"),)), one(store), one(store)
    store.cancel(ACCOUNT, old.id, now=now)
    store.cancel(ACCOUNT, recent.id, now=now + SECOND)
    assert store.prune(10, now=now + HOUR, finished_before=now + SECOND) == 1
    assert store.get(ACCOUNT, old.id) is None
    assert found(store, recent)
    assert found(store, waiting)
    assert sum(store.counts().values()) == 2


def test_email_that_waits_for_a_decision_is_never_deleted(store: Store) -> None:
    email = one(store, on_uncertain=OnUncertain.HOLD)
    now = store.clock()
    [claim] = make.claimed(store, now, email)
    store.fence({email.id: claim.token}, now=now, lease=LEASE)
    store.recover(10, now=now + HOUR, doubt_delay=SECOND)
    assert found(store, email).life.status is Status.UNCERTAIN
    assert store.prune(10, now=now + 9000 * HOUR, finished_before=now + 8000 * HOUR) == 0


def test_email_retried_by_hand_is_not_deleted(store: Store) -> None:
    now = store.clock()
    email = one(store)
    store.cancel(ACCOUNT, email.id, now=now)
    store.retry(ACCOUNT, email.id, now=now, max_age=HOUR, wake_up_at=now)
    assert store.prune(10, now=now + HOUR, finished_before=now + HOUR) == 0


def test_prune_takes_no_more_than_the_limit(store: Store) -> None:
    now = store.clock()
    life = make.new_life(now, status=Status.SUPPRESSED, next_attempt_at=None)
    make.stored(store, now, *(make.email(now, life=life) for _ in range(5)))
    assert [store.prune(2, now=now, finished_before=now + HOUR) for _ in range(4)] == [2, 2, 1, 0]


def test_emails_that_ended_each_by_itself_are_all_deleted_at_once(store: Store) -> None:
    now = store.clock()
    for email in make.stored(store, now, *(make.email(now) for _ in range(120))):
        store.cancel(ACCOUNT, email.id, now=now)
    assert store.prune(1000, now=now + HOUR, finished_before=now + HOUR) == 120


def test_prune_takes_emails_with_large_attachments_too(store: Store) -> None:
    now = store.clock()
    life = make.new_life(now, status=Status.SUPPRESSED, next_attempt_at=None)
    large = make.attachment(b"content", size=20 * 1024 * 1024)  # it is what is told of it that counts
    make.stored(store, now, *(make.email(now, life=life, attachments=(large,)) for _ in range(25)))
    assert store.prune(20, now=now, finished_before=now + HOUR) == 20
    assert store.prune(20, now=now, finished_before=now + HOUR) == 5
    assert sum(store.counts().values()) == 0


def test_pruned_email_leaves_nothing_behind(store: Store) -> None:
    now = store.clock()
    attachment = make.attachment(b"content")
    email = one(store, tags=(("kind", "a"),), attachments=(attachment,))
    store.cancel(ACCOUNT, email.id, now=now)
    store.prune(10, now=now + HOUR, finished_before=now + HOUR)
    assert store.attachments(email.id) == []
    again = replace(email, created_at=email.created_at + SECOND)
    make.stored(store, now, again)
    assert found(store, again).created_at == again.created_at


def test_emails_whose_keys_have_not_expired_do_not_keep_others_from_being_deleted(store: Store) -> None:
    now = store.clock()
    life = make.new_life(now, status=Status.SUPPRESSED, next_attempt_at=None)
    keys = [make.idempotency_key(now + 2 * HOUR, key=f"key-{n}") for n in range(15)]
    with_key = [make.submission(make.email(now, life=life), key=key) for key in keys]
    store.add(with_key, now=now, wake_up_at=now)
    without_key = make.stored(store, now + SECOND, *(make.email(now, life=life) for _ in range(5)))
    for _ in range(3):
        store.prune(10, now=now + HOUR, finished_before=now + HOUR)
    assert [store.get(ACCOUNT, email.id) for email in without_key] == [None] * 5
    for _ in range(3):
        store.prune(10, now=now + 3 * HOUR, finished_before=now + 3 * HOUR)
    assert sum(store.counts().values()) == 0


def test_expired_keys_are_deleted_and_others_kept(store: Store) -> None:
    now = store.clock()
    kept = make.idempotency_key(now + 2 * HOUR, key="kept")
    gone = make.idempotency_key(now + SECOND, key="gone")
    store.add([make.submission(key=kept, answer="1"), make.submission(key=gone, answer="2")], now=now, wake_up_at=now)
    assert store.prune(10, now=now + HOUR, finished_before=now) == 0
    repeated = [make.submission(key=replace(key, expires_at=now + 9 * HOUR), answer="3") for key in (kept, gone)]
    answers = store.add(repeated, now=now + HOUR, wake_up_at=now)
    assert [(a.answer, a.replayed) for a in answers] == [("1", True), ("3", False)]  # type: ignore[union-attr]
