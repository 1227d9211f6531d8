"""Every store: submissions become durable whole, and one idempotency key stands for one submission."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from msgspec.structs import replace

from postroom.errors import StoreError
from postroom.mail.email import (
    Address,
    Attachment,
    Email,
    Event,
    Kind,
    Lane,
    LastError,
    OnUncertain,
    Recipient,
    RecipientStatus,
    Status,
)
from postroom.store.base import Added, IdempotencyKey, KeyReused, Store, Submission
from tests import make
from tests.make import HOUR, LEASE, SECOND

LARGE = 20 * 1024 * 1024  # bytes of attachments, as they are told


def maximal(store: Store) -> Email:
    """An email in which every member has a value of its own, with characters from all over."""
    at = store.clock()
    recipient = Recipient(
        address="grüße@xn--bcher-kva.example",
        kind=Kind.BCC,
        status=RecipientStatus.RETRYING,
        smtp_code=451,
        enhanced_code="4.7.1",
        message="später \u2028 \U0001f4ee \\ \" ' %",
        at=at - SECOND,
    )
    error = LastError(
        kind="transient", message="später", smtp_code=451, enhanced_code="4.7.1", permanent=False, at=at - SECOND
    )
    life = make.new_life(
        at,
        status=Status.RETRYING,
        recipients=(recipient, Recipient(address="b@example.com", kind=Kind.CC)),
        scheduled_at=at - HOUR,
        next_attempt_at=at + SECOND,
        attempts=3,
        crash_count=1,
        last_attempt_at=at - SECOND,
        sent_at=at - 2 * SECOND,
        possible_duplicate=True,
        last_error=error,
        timeline=(Event(event="attempt", at=at, attempt=3, detail={"seconds": 0.25, "ok": True, "who": None}),),
    )
    content = bytes(range(256))
    return make.email(
        at,
        life=life,
        key_id="0123456789ab",
        message_id="<ünïcode@example.org>",
        sender=Address("post@example.org", "Die Poststube 📮"),
        to=("a@example.com",),
        cc=(Address("b@example.com", "B, the second"),),
        bcc=(Address("grüße@xn--bcher-kva.example"),),
        reply_to=(Address("c@example.com"), Address("d@example.com", "D")),
        subject="Straße \U0001f4ee \u0000 'quoted' $where",
        html="<p>\u0000Grüße</p>",
        text="line\r\nline",
        headers=(("X-One", "1"), ("X-One", "2"), ("$set", "3.5")),
        attachments=(
            Attachment(filename="a.bin", content_type="application/x", content_id="cid1", size=256, content=content),
            Attachment(filename=None, content_type="text/plain", content_id=None, size=0, content=b""),
        ),
        tags=(("kind", "order"), ("empty", "")),
        metadata={
            "text": "é",
            "big": 2**53 - 1,
            "low": -(2**53),
            "real": 0.1,
            "none": None,
            "deep": {"a.b": [True, []]},
        },
        lane=Lane.BULK,
        max_attempts=7,
        on_uncertain=OnUncertain.HOLD,
        idempotency_key="key-1",
    )


def without_contents(email: Email) -> Email:
    return replace(email, attachments=tuple(replace(a, content=None) for a in email.attachments))


def add(store: Store, *submissions: Submission) -> list[Added | KeyReused]:
    now = store.clock()
    return store.add(submissions, now=now, wake_up_at=now + 15 * SECOND)


def test_every_member_of_an_email_comes_back_as_it_was(store: Store) -> None:
    email = maximal(store)
    add(store, make.submission(email))
    assert store.get(email.account, email.id) == without_contents(email)
    assert store.attachments(email.id) == [a.content for a in email.attachments]


def test_every_member_of_an_email_reaches_the_worker(store: Store) -> None:
    email = maximal(store)
    add(store, make.submission(email))
    at = store.clock() + 2 * SECOND
    [claim] = make.claimed(store, at, email)
    life = replace(email.life, status=Status.SENDING, attempts=4, last_attempt_at=at)
    assert claim.email == replace(without_contents(email), life=life)


def test_each_submission_is_answered_in_order(store: Store) -> None:
    answers = add(store, *(make.submission(answer=str(i)) for i in range(5)))
    assert answers == [Added(answer=str(i), replayed=False) for i in range(5)]


def test_batch_is_stored_whole(store: Store) -> None:
    emails = [make.email(store.clock()) for _ in range(3)]
    assert len(add(store, make.submission(*emails))) == 1
    assert all(store.get(e.account, e.id) == e for e in emails)


def test_submission_without_emails_is_answered_and_replayed(store: Store) -> None:
    key = make.idempotency_key(store.clock() + HOUR)
    empty = Submission(account=make.ACCOUNT, emails=(), answer="none", idempotency=key)
    assert add(store, empty) == [Added(answer="none", replayed=False)]
    assert add(store, empty) == [Added(answer="none", replayed=True)]
    assert add(store) == []


def test_submissions_are_refused_as_a_whole(store: Store) -> None:
    first, twice = make.email(store.clock()), make.email(store.clock())
    with pytest.raises(StoreError):
        add(store, make.submission(first), make.submission(twice, twice))
    assert store.get(first.account, first.id) is None
    assert sum(store.counts().values()) == 0


def test_finished_email_is_stored_and_never_claimed(store: Store) -> None:
    now = store.clock()
    life = make.new_life(now, status=Status.SUPPRESSED, next_attempt_at=None)
    [email] = make.stored(store, now, make.email(now, life=life))
    assert store.claim([email.id], worker="w", now=now + HOUR, lease=LEASE) == []
    assert store.backlog() == 0


def test_repeated_key_replays_the_first_answer(store: Store) -> None:
    key = make.idempotency_key(store.clock() + HOUR)
    first, second = make.email(store.clock()), make.email(store.clock())
    add(store, make.submission(first, key=key, answer="first"))
    assert add(store, make.submission(second, key=key, answer="second")) == [Added(answer="first", replayed=True)]
    assert store.get(second.account, second.id) is None


def test_earlier_answer_is_found_for_the_same_payload_only(store: Store) -> None:
    key = make.idempotency_key(store.clock() + HOUR)
    add(store, make.submission(key=key, answer="first"))
    now = store.clock()
    assert store.replay(make.ACCOUNT, key, now=now) == "first"
    assert store.replay("stranger", key, now=now) is None
    for member in ("endpoint", "key", "fingerprint"):
        assert store.replay(make.ACCOUNT, replace(key, **{member: "other"}), now=now) is None
    assert store.replay(make.ACCOUNT, key, now=key.expires_at) is None


def test_key_with_another_payload_is_refused(store: Store) -> None:
    expires = store.clock() + HOUR
    add(store, make.submission(key=make.idempotency_key(expires, fingerprint="f1")))
    other = make.email(store.clock())
    assert add(store, make.submission(other, key=make.idempotency_key(expires, fingerprint="f2"))) == [KeyReused()]
    assert store.get(other.account, other.id) is None


def test_of_two_with_one_key_in_one_group_the_first_is_stored(store: Store) -> None:
    key = make.idempotency_key(store.clock() + HOUR)
    other = make.idempotency_key(store.clock() + HOUR, fingerprint="f2")
    emails = [make.email(store.clock()) for _ in range(4)]
    keys = (key, key, other, None)
    answers = add(store, *(make.submission(e, key=k, answer=e.id) for e, k in zip(emails, keys, strict=True)))
    assert answers == [
        Added(answer=emails[0].id, replayed=False),
        Added(answer=emails[0].id, replayed=True),
        KeyReused(),
        Added(answer=emails[3].id, replayed=False),
    ]
    assert sum(store.counts().values()) == 2


def test_expired_key_counts_as_new(store: Store) -> None:
    now = store.clock()
    add(store, make.submission(key=make.idempotency_key(now + SECOND), answer="old"))
    later = now + SECOND
    fresh = make.idempotency_key(later + HOUR, fingerprint="f2")
    again = make.submission(key=fresh, answer="new")
    assert store.add([again], now=later, wake_up_at=later) == [Added(answer="new", replayed=False)]
    assert store.add([again], now=later, wake_up_at=later) == [Added(answer="new", replayed=True)]


@pytest.mark.parametrize("member", ["account", "endpoint", "key"])
def test_keys_of_other_accounts_endpoints_and_words_are_apart(store: Store, member: str) -> None:
    key = make.idempotency_key(store.clock() + HOUR)
    add(store, make.submission(key=key))
    if member == "account":
        other = make.submission(make.email(store.clock(), account="other"), key=key)
    else:
        other = make.submission(key=replace(key, **{member: "other"}))
    [answer] = add(store, other)
    assert isinstance(answer, Added)
    assert not answer.replayed


def test_refused_group_does_not_use_up_its_keys(store: Store) -> None:
    key: IdempotencyKey = make.idempotency_key(store.clock() + HOUR)
    twice = make.email(store.clock())
    with pytest.raises(StoreError):
        add(store, make.submission(key=key), make.submission(twice, twice))
    assert add(store, make.submission(key=key, answer="now")) == [Added(answer="now", replayed=False)]


def test_large_email_is_stored_by_itself_after_its_group_was_refused(store: Store) -> None:
    now = store.clock()
    [there] = make.stored(store, now, make.email(now))
    email = make.email(now, attachments=(make.attachment(b"content", size=LARGE),))
    with pytest.raises(StoreError):
        store.add([make.submission(email), make.submission(there)], now=now, wake_up_at=now)
    [added] = store.add([make.submission(email)], now=now, wake_up_at=now)
    assert added == Added(answer=make.submission(email).answer, replayed=False)
    assert store.attachments(email.id) == [b"content"]


def test_large_email_that_is_there_keeps_its_attachments_when_it_comes_again(store: Store) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.email(now, attachments=(make.attachment(b"content", size=LARGE),)))
    with pytest.raises(StoreError):
        store.add([make.submission(email)], now=now, wake_up_at=now)
    store.prune(10, now=now + HOUR, finished_before=now)
    assert store.attachments(email.id) == [b"content"]


def test_fifty_threads_with_one_key_store_one_email(store: Store) -> None:
    key = make.idempotency_key(store.clock() + HOUR)
    together = Barrier(50)

    def submit(serial: int) -> Added | KeyReused:
        mine = make.submission(make.email(store.clock()), key=key, answer=str(serial))
        together.wait(20)
        return add(store, mine)[0]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(submit, range(50)))
    assert sum(isinstance(a, Added) and not a.replayed for a in answers) == 1
    assert len({a.answer for a in answers if isinstance(a, Added)}) == 1
    assert sum(store.counts().values()) == 1
