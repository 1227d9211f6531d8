"""Every store: API keys, the clock, and the way out."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC

import pytest

from postroom.errors import StoreError, StoreUnavailable
from postroom.mail.api_key import Scope
from postroom.store.base import Query, Store
from tests import make
from tests.make import ACCOUNT, HOUR, SECOND


def test_every_member_of_a_key_comes_back_as_it_was(store: Store) -> None:
    now = store.clock()
    key = make.api_key(
        account="other",
        name="Schlüssel 🗝",
        scopes=frozenset({Scope.SEND, Scope.READ}),
        domains=frozenset({"example.com", "xn--bcher-kva.example"}),
        expires_at=now + HOUR,
        revoked_at=now + SECOND,
    )
    store.add_key(key)
    assert store.find_key(key.id) == key
    plain = make.api_key("000000000000")
    store.add_key(plain)
    assert store.find_key(plain.id) == plain


def test_unknown_key_is_none(store: Store) -> None:
    assert store.find_key("0123456789ab") is None


def test_key_is_added_once(store: Store) -> None:
    store.add_key(make.api_key())
    with pytest.raises(StoreError) as caught:
        store.add_key(make.api_key(name="other"))
    assert type(caught.value) is StoreError  # it would be no use to try again
    found = store.find_key(make.api_key().id)
    assert found
    assert found.name == "test"


def test_keys_are_listed_oldest_first_by_account_or_all(store: Store) -> None:
    now = store.clock()
    newer = make.api_key("000000000001", created_at=now)
    older = make.api_key("000000000002", created_at=now - SECOND)
    other = make.api_key("000000000003", created_at=now - HOUR, account="other")
    for key in (newer, older, other):
        store.add_key(key)
    assert list(store.list_keys(ACCOUNT)) == [older, newer]
    assert list(store.list_keys()) == [other, older, newer]
    assert list(store.list_keys("nobody")) == []


def test_revoked_keys_are_listed_only_if_asked_for(store: Store) -> None:
    now = store.clock()
    valid = make.api_key("000000000001", created_at=now)
    revoked = make.api_key("000000000002", created_at=now + SECOND)
    revoked_before = make.api_key("000000000003", created_at=now + HOUR, revoked_at=now)
    for key in (valid, revoked, revoked_before):
        store.add_key(key)
    store.revoke_key(revoked.id, now=now)
    assert list(store.list_keys()) == list(store.list_keys(ACCOUNT)) == [valid]
    assert [key.id for key in store.list_keys(revoked_too=True)] == [valid.id, revoked.id, revoked_before.id]


def test_revoked_key_is_found_and_keeps_its_first_time(store: Store) -> None:
    now = store.clock()
    store.add_key(make.api_key())
    assert store.revoke_key(make.api_key().id, now=now)
    assert store.revoke_key(make.api_key().id, now=now + HOUR)
    found = store.find_key(make.api_key().id)
    assert found
    assert found.revoked_at == now
    assert not store.revoke_key("000000000000", now=now)


def test_clock_gives_utc_in_whole_milliseconds_and_never_goes_back(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: [store.clock() for _ in range(200)], range(4)))
    for moments in runs:
        assert moments == sorted(moments)
        assert all(m.tzinfo is UTC and m.microsecond % 1000 == 0 for m in moments)


def test_open_store_answers_a_ping(store: Store) -> None:
    store.ping()


def test_closed_store_is_unavailable_and_may_be_closed_again(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable):
        store.ping()
    with pytest.raises(StoreUnavailable):
        make.stored(store, store.clock(), make.email())
    with pytest.raises(StoreUnavailable):
        store.list(Query(account=ACCOUNT, limit=1))
