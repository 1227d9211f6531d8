"""Buckets, load and backlog: arithmetic on time and numbers, without a server."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.api import idempotency, strict_json
from postroom.api.buckets import MOST_BUCKETS, Buckets
from postroom.api.exchange import Exchange
from postroom.api.load import UNCOUNTED_BYTES, Backlog, Load
from postroom.errors import Overloaded, StoreUnavailable
from tests.make import now


def test_bucket_gives_its_size_at_once_and_then_its_rate() -> None:
    buckets = Buckets(rate=2, size=4)
    assert [buckets.take("a", now=100).taken for _ in range(6)] == [True] * 4 + [False] * 2
    assert buckets.take("b", now=100).taken
    assert [buckets.take("a", now=101).taken for _ in range(3)] == [True, True, False]


def test_bucket_tells_what_is_left() -> None:
    buckets = Buckets(rate=2, size=4)
    first = buckets.take("a", now=100)
    assert (first.remaining, first.full_in_seconds) == (3, 1)
    for _ in range(4):
        last = buckets.take("a", now=100)
    assert (last.taken, last.remaining, last.full_in_seconds, last.next_in_seconds) == (False, 0, 2, 1)


@given(st.lists(st.floats(0, 10), max_size=60))
def test_bucket_never_gives_more_than_size_and_rate(pauses: list[float]) -> None:
    buckets = Buckets(rate=3, size=5)
    at = given_out = 0.0
    for pause in pauses:
        at += pause
        given_out += buckets.take("a", now=at).taken
    assert given_out <= 5 + 3 * at + 1e-6


def test_number_of_buckets_is_bounded() -> None:
    buckets = Buckets(rate=1, size=10)
    for i in range(2 * MOST_BUCKETS):
        buckets.take(str(i), now=100)
    assert len(buckets._buckets) <= MOST_BUCKETS


def test_load_refuses_above_its_limits_and_recovers() -> None:
    load = Load(most=2, most_bytes=100)
    load.enter()
    load.enter()
    with pytest.raises(Overloaded):
        load.enter()
    load.leave()
    load.enter()


def exchange(key_id: str = "") -> Exchange:
    """A request with that key that holds nothing yet."""

    async def receive() -> dict[str, object]:
        return {}

    found = Exchange({"type": "http", "headers": []}, receive)
    found.key_id = key_id
    return found


def test_large_requests_of_one_key_leave_room_for_others_and_small_ones_always_get_in() -> None:
    load = Load(most=100, most_bytes=20 * UNCOUNTED_BYTES)
    mine = [exchange("mine") for _ in range(6)]
    for one in mine[:5]:
        load.hold(one, UNCOUNTED_BYTES)
        load.hold(one, UNCOUNTED_BYTES)
    with pytest.raises(Overloaded):
        load.hold(mine[5], 2 * UNCOUNTED_BYTES)
    other, third = exchange("other"), exchange("third")
    load.hold(other, 8 * UNCOUNTED_BYTES)
    with pytest.raises(Overloaded):
        load.hold(third, 2 * UNCOUNTED_BYTES)
    load.hold(exchange("third"), UNCOUNTED_BYTES)
    for one in (*mine, third):
        load.let_go(one)
    load.hold(exchange("mine"), 10 * UNCOUNTED_BYTES)


def test_one_large_request_gets_in_alone_however_large_it_is() -> None:
    load = Load(most=100, most_bytes=10 * UNCOUNTED_BYTES)
    large = exchange("mine")
    load.hold(large, 9 * UNCOUNTED_BYTES)
    with pytest.raises(Overloaded):
        load.hold(exchange("mine"), 2 * UNCOUNTED_BYTES)
    load.let_go(large)
    with pytest.raises(Overloaded):
        load.hold(exchange("mine"), 11 * UNCOUNTED_BYTES)


def test_backlog_counts_what_was_accepted_since_it_was_read() -> None:
    async def scenario() -> None:
        readings = iter([1, 2])
        backlog = Backlog(lambda: next(readings), most=3)
        assert await backlog.reading() == 1
        await backlog.check(2)
        backlog.added(2)
        with pytest.raises(Overloaded):
            await backlog.check(1)

    asyncio.run(scenario())


def test_backlog_that_cannot_be_read_is_left_to_the_submission() -> None:
    def broken() -> int:
        raise StoreUnavailable("gone")

    async def scenario() -> None:
        backlog = Backlog(broken, most=3)
        assert await backlog.reading() == 0
        await backlog.check(1)

    asyncio.run(scenario())


def fingerprint(text: str, mode: str = "strict") -> str:
    """The fingerprint of a payload written like this."""
    payload = strict_json.parse(text.encode(), max_depth=20)
    bound = idempotency.bind("k", payload, endpoint="emails", mode=mode, now=now(), hours=24)
    assert bound
    return bound.fingerprint


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a":1,"b":[1,2]}', '{ "b" : [1, 2], "a" : 1 }', True),
        ('{"a":1}', '{"a":1.0}', True),
        ('{"a":1}', '{"a":10e-1}', True),
        ('{"a":"\\u00e9"}', '{"a":"é"}', True),
        ('{"a":1}', '{"a":"1"}', False),
        ('{"a":1}', '{"a":true}', False),
        ('{"a":1.5}', '{"a":1}', False),
        ('{"b":[1,2]}', '{"b":[2,1]}', False),
        ('{"a":null}', "{}", False),
    ],
)
def test_fingerprints_are_those_of_json_values(one: str, other: str, same: bool) -> None:
    assert (fingerprint(one) == fingerprint(other)) is same
    assert fingerprint(one) != fingerprint(one, mode="permissive")
