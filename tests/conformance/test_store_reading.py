"""Every store: one email, pages of them by every filter, and the books."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
from msgspec.structs import replace

from postroom.errors import EmailNotFound
from postroom.mail.email import Email, Kind, Lane, Recipient, Status
from postroom.store.base import Query, Store
from tests import make
from tests.make import ACCOUNT, HOUR, SECOND


def stored(store: Store, count: int, **changes: object) -> list[Email]:
    """So many emails a second apart, oldest first, in the order in which they were accepted."""
    now = store.clock()
    return make.stored(store, now, *(make.email(now + i * SECOND, **changes) for i in range(count)))


def ids(store: Store, **query: object) -> list[str]:
    page = store.list(Query(**{"account": ACCOUNT, "limit": 100, **query}))  # type: ignore[arg-type]
    return [email.id for email in page.emails]


def test_unknown_email_and_that_of_another_account_are_none(store: Store) -> None:
    [email] = stored(store, 1)
    assert store.get(ACCOUNT, make.email_id(store.clock())) is None
    assert store.get("other", email.id) is None
    assert store.get(ACCOUNT, "no id at all") is None


def test_many_are_read_as_each_by_itself_and_what_is_not_there_is_left_out(store: Store) -> None:
    emails = stored(store, 3, html="<p>", headers=(("X-A", "b"),), attachments=(make.attachment(b"content"),))
    [other] = stored(store, 1, account="other")
    unknown = make.email_id(store.clock())
    wanted = [(ACCOUNT, email.id) for email in emails] + [("other", other.id)]
    absent = [(ACCOUNT, unknown), (ACCOUNT, other.id), ("other", emails[0].id), (ACCOUNT, "no id at all")]
    assert store.get_many([*absent, *wanted]) == {key: store.get(*key) for key in wanted}
    assert store.get_many(absent) == {}
    assert store.get_many([]) == {}


def test_attachments_keep_their_order(store: Store) -> None:
    contents = [b"2", b"", b"1" * 100_000]
    [email] = stored(store, 1, attachments=tuple(make.attachment(content) for content in contents))
    assert store.attachments(email.id) == contents
    assert store.attachments(make.email_id(store.clock())) == []


def test_page_is_newest_first_and_leaves_out_bodies_headers_timelines_and_contents(store: Store) -> None:
    attachment = make.attachment(b"content")
    emails = stored(store, 3, html="<p>", headers=(("X-A", "b"),), attachments=(attachment,), tags=(("a", "b"),))
    page = store.list(Query(account=ACCOUNT, limit=10))
    short = replace(attachment, content=None)
    assert list(page.emails) == [
        replace(e, html=None, text=None, headers=(), attachments=(short,), life=replace(e.life, timeline=()))
        for e in reversed(emails)
    ]
    assert not page.has_more


def test_pages_after_a_cursor_tile_the_whole_list(store: Store) -> None:
    emails = stored(store, 7)
    seen: list[str] = []
    more = True
    while more:
        page = store.list(Query(account=ACCOUNT, limit=3, after=seen[-1] if seen else None))
        seen += [email.id for email in page.emails]
        more = page.has_more
        assert len(seen) <= 7
    assert seen == [email.id for email in reversed(emails)]


def test_page_after_the_oldest_is_empty(store: Store) -> None:
    [oldest, _] = stored(store, 2)
    page = store.list(Query(account=ACCOUNT, limit=3, after=oldest.id))
    assert (page.emails, page.has_more) == ((), False)


@pytest.mark.parametrize(
    ("limit", "expected", "has_more"), [(2, [3, 2], True), (3, [4, 3, 2], False), (9, [4, 3, 2], False)]
)
def test_page_before_a_cursor_is_the_adjacent_one(
    store: Store, limit: int, expected: list[int], has_more: bool
) -> None:
    emails = stored(store, 5)
    page = store.list(Query(account=ACCOUNT, limit=limit, before=emails[1].id))
    assert [email.id for email in page.emails] == [emails[i].id for i in expected]
    assert page.has_more is has_more


def test_page_stays_the_same_while_newer_emails_arrive(store: Store) -> None:
    emails = stored(store, 4)
    now = store.clock() + HOUR
    make.stored(store, now, make.email(now))
    assert ids(store, after=emails[3].id, limit=2) == [emails[2].id, emails[1].id]
    assert ids(store, before=emails[1].id, limit=2) == [emails[3].id, emails[2].id]


@pytest.mark.parametrize("direction", ["after", "before"])
def test_unknown_cursor_and_that_of_another_account_are_not_found(store: Store, direction: str) -> None:
    [email] = stored(store, 1, account="other")
    with pytest.raises(EmailNotFound):
        ids(store, **{direction: make.email_id(store.clock())})
    with pytest.raises(EmailNotFound):
        ids(store, **{direction: email.id})


def test_accounts_do_not_see_each_other(store: Store) -> None:
    [mine] = stored(store, 1, tags=(("a", "b"),))
    stored(store, 1, account="other", tags=(("a", "b"),))
    for query in ({}, {"tag": "a"}, {"to": "anna@example.com"}, {"subject": "hello"}, {"status": [Status.QUEUED]}):
        assert ids(store, **query) == [mine.id]


def test_filter_by_status_takes_several(store: Store) -> None:
    emails = stored(store, 5)
    for email in emails[:2]:
        store.cancel(ACCOUNT, email.id, now=store.clock())
    make.claimed(store, store.clock() + HOUR, emails[2])
    assert ids(store, status=[Status.CANCELED]) == [emails[1].id, emails[0].id]
    assert ids(store, status={Status.SENDING, Status.CANCELED}) == [emails[i].id for i in (2, 1, 0)]
    assert ids(store, status=[Status.FAILED]) == []


def test_filter_by_status_shows_no_other_while_emails_change(store: Store) -> None:
    emails, done = stored(store, 20), Event()

    def change() -> None:
        while not done.is_set():
            for email in emails:
                now = store.clock()
                store.cancel(ACCOUNT, email.id, now=now)
                store.retry(ACCOUNT, email.id, now=now, max_age=HOUR, wake_up_at=now)

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        query = Query(account=ACCOUNT, limit=10, status={Status.CANCELED})
        try:
            pages = [store.list(query) for _ in range(100)]
        finally:
            done.set()
    changing.result()
    assert {email.life.status for page in pages for email in page.emails} <= {Status.CANCELED}


def test_filter_by_recipient_finds_every_kind_in_any_letter_case(store: Store) -> None:
    now = store.clock()
    addresses = ("Anna.B@example.com", "cc@example.com", "bcc@example.com")
    recipients = tuple(Recipient(address=a, kind=k) for a, k in zip(addresses, Kind, strict=True))
    email = make.email(now, life=make.new_life(now, recipients=recipients))
    make.stored(store, now, email, make.email(now, to=("anna@example.com",)))
    for wanted in (*addresses, "anna.b@EXAMPLE.com"):
        assert ids(store, to=wanted) == [email.id]
    assert ids(store, to="nna.B@example.com") == []
    assert ids(store, to="anna.b@example.co") == []


def test_filter_by_subject_is_its_beginning_in_any_letter_case(store: Store) -> None:
    now = store.clock()
    subjects = ("Straße 1", "STRASSE 2", "strass", "Die Straße", "100% sure", "100 sure", "_a", "xa")
    emails = {s: make.email(now, subject=s) for s in subjects}
    make.stored(store, now, *emails.values())
    assert ids(store, subject="strasse") == [emails["STRASSE 2"].id, emails["Straße 1"].id]
    assert ids(store, subject="Straße 1") == [emails["Straße 1"].id]
    assert ids(store, subject="100%") == [emails["100% sure"].id]
    assert ids(store, subject="_") == [emails["_a"].id]
    assert ids(store, subject="q") == []


@pytest.mark.parametrize("beginning", ["zz", "z\ud7ff", "z\U0010ffff"])
def test_filter_by_subject_finds_what_goes_on_with_the_last_character(store: Store, beginning: str) -> None:
    now = store.clock()
    goes_on = make.email(now, subject=f"{beginning}\U0010ffff!")
    make.stored(store, now, goes_on, make.email(now, subject="z{"), make.email(now, subject="zy"))
    assert ids(store, subject=beginning) == [goes_on.id]


def test_filter_by_subject_pages_through_many_different_ones(store: Store) -> None:
    now = store.clock()
    emails = make.stored(store, now, *(make.email(now, subject=f"Order {i * 7919 % 101}") for i in range(60)))
    newest_first = [email.id for email in reversed(emails)]
    assert ids(store, subject="order", limit=25) == newest_first[:25]
    assert ids(store, subject="order", limit=25, after=newest_first[24]) == newest_first[25:50]
    assert ids(store, subject="order", limit=25, before=newest_first[25]) == newest_first[:25]


def test_filter_by_tag_is_its_name_or_name_and_value(store: Store) -> None:
    now = store.clock()
    one = make.email(now, tags=(("kind", "order"), ("shop", "1")))
    two = make.email(now, tags=(("kind", "news"),))
    make.stored(store, now, one, two, make.email(now))
    assert ids(store, tag="kind") == [two.id, one.id]
    assert ids(store, tag="kind:order") == [one.id]
    assert ids(store, tag="shop:1") == [one.id]
    assert ids(store, tag="order") == []
    assert ids(store, tag="kin") == []


def test_filter_by_creation_takes_the_first_moment_and_leaves_the_last(store: Store) -> None:
    emails = stored(store, 5)
    first, last = emails[1].created_at, emails[3].created_at
    assert ids(store, created_after=first, created_before=last) == [emails[2].id, emails[1].id]
    late = timedelta(microseconds=1)
    assert ids(store, created_after=first + late, created_before=last + late) == [emails[3].id, emails[2].id]


def test_filter_by_creation_takes_the_last_moment_there_is(store: Store) -> None:
    emails = stored(store, 2)
    assert ids(store, created_after=datetime.max.replace(tzinfo=UTC)) == []
    assert ids(store, created_before=datetime.max.replace(tzinfo=UTC)) == [emails[1].id, emails[0].id]


def test_filters_combine_with_each_other_and_with_cursors(store: Store) -> None:
    now = store.clock()
    good = {"to": ("bob@example.com",), "subject": "News 7", "tags": (("kind", "news"),)}
    wanted = [make.email(now + i * SECOND, **good) for i in range(4)]
    others = [
        make.email(now + i * SECOND, **{**good, **wrong})
        for i, wrong in enumerate(
            ({"to": ("eve@example.com",)}, {"subject": "Old"}, {"tags": (("kind", "order"),)}, {"account": "other"})
        )
    ]
    make.stored(store, now, *wanted, *others)
    store.cancel(ACCOUNT, wanted[3].id, now=now)
    query = {"to": "bob@example.com", "subject": "news", "tag": "kind:news", "status": [Status.QUEUED]}
    assert ids(store, **query) == [wanted[i].id for i in (2, 1, 0)]
    assert ids(store, **query, after=wanted[2].id) == [wanted[1].id, wanted[0].id]
    assert ids(store, **query, before=wanted[0].id, limit=1) == [wanted[1].id]
    assert ids(store, **query, created_after=wanted[1].created_at) == [wanted[2].id, wanted[1].id]
    assert ids(store, **query, created_before=wanted[1].created_at) == [wanted[0].id]


def test_counts_add_up_to_all_emails(store: Store) -> None:
    emails = stored(store, 5)
    stored(store, 1, account="other")
    store.cancel(ACCOUNT, emails[0].id, now=store.clock())
    make.claimed(store, store.clock() + HOUR, emails[1])
    counts = {status: count for status, count in store.counts().items() if count}
    assert counts == {Status.QUEUED: 4, Status.CANCELED: 1, Status.SENDING: 1}


def test_longest_wait_of_each_lane_is_of_what_is_due_and_unclaimed(store: Store) -> None:
    now = store.clock()
    assert store.waiting_since(now) == {}
    urgent, *normal = make.stored(
        store,
        now,
        make.email(now - HOUR, lane=Lane.URGENT),
        *(make.email(now - i * SECOND) for i in (10, 20)),
        make.scheduled(now, now + HOUR),
    )
    assert store.waiting_since(now) == {Lane.URGENT: now - HOUR, Lane.NORMAL: now - 20 * SECOND}
    make.claimed(store, now, urgent, normal[1])
    assert store.waiting_since(now) == {Lane.NORMAL: now - 10 * SECOND}
    assert store.waiting_since(now - 11 * SECOND) == {}


def test_backlog_is_what_is_not_finished(store: Store) -> None:
    assert store.backlog() == 0
    now = store.clock()
    [canceled, claimed, _] = stored(store, 3)
    make.stored(store, now, make.scheduled(now, now + HOUR))
    store.cancel(ACCOUNT, canceled.id, now=now)
    make.claimed(store, now + HOUR, claimed)
    assert store.backlog() == 3
