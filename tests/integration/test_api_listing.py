"""GET /emails: pages, cursors, filters, and everything that is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import CANARY, assert_refused

COUNT = 25
MEMBERS = frozenset(
    ["id", "message_id", "from", "to", "cc", "bcc", "reply_to", "subject", "created_at", "scheduled_at", "last_event"]
)


@pytest.fixture(scope="module")
def listed(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, list[str]]]:
    """A product with 25 emails; their ids, newest first."""
    folder: Path = tmp_path_factory.mktemp("listing")
    with running(engine, folder, deliver=False) as product:
        emails = [
            EMAIL
            | {
                "subject": f"Subject {i}",
                "to": f"r{i % 5}@example.net",
                "tags": [{"name": "parity", "value": "even" if i % 2 == 0 else "odd"}],
                "scheduled_at": "in 1 hour" if i < 3 else None,
            }
            for i in range(COUNT)
        ]
        answer = product.request("POST", "/emails/batch", json=emails)
        ids = [one["id"] for one in answer.json()["data"]]
        other = product.make_key(account="other")
        product.request("POST", "/emails", json=EMAIL, key=other)
        yield product, ids[::-1]


def page(product: Product, **query: Any) -> tuple[list[str], bool]:
    """The ids of a page and whether there are more."""
    answer = product.request("GET", "/emails", params=query)
    body = answer.json()
    assert answer.status_code == 200, body
    assert body["object"] == "list"
    return [one["id"] for one in body["data"]], body["has_more"]


def test_first_page_has_20_newest_first(listed: tuple[Product, list[str]]) -> None:
    product, ids = listed
    assert page(product) == (ids[:20], True)
    assert page(product, limit=100) == (ids, False)
    assert page(product, limit=COUNT) == (ids, False)


def test_items_have_every_member(listed: tuple[Product, list[str]]) -> None:
    product, _ = listed
    (item,) = product.request("GET", "/emails", params={"limit": 1}).json()["data"]
    assert item.keys() >= MEMBERS | {"status"}
    assert not {"html", "text", "object"} & item.keys()


def test_after_walks_through_all_to_the_oldest(listed: tuple[Product, list[str]]) -> None:
    product, ids = listed
    found, more = page(product, limit=7)
    while more:
        further, more = page(product, limit=7, after=found[-1])
        found += further
    assert found == ids


def test_before_is_adjacent_to_its_cursor(listed: tuple[Product, list[str]]) -> None:
    product, ids = listed
    assert page(product, limit=3, before=ids[10]) == (ids[7:10], True)
    assert page(product, limit=3, before=ids[3]) == (ids[:3], False)
    assert page(product, limit=3, before=ids[10].upper()) == (ids[7:10], True)
    assert page(product, limit=3, before=ids[0]) == ([], False)
    assert page(product, limit=3, after=ids[-1]) == ([], False)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"status": "scheduled"}, 3),
        ({"status": "queued,scheduled"}, COUNT),
        ({"status": "failed"}, 0),
        ({"to": "r2@example.net"}, 5),
        ({"to": "R2 <r2@EXAMPLE.net>"}, 5),
        ({"subject": "subject 2"}, 6),
        ({"tag": "parity:odd"}, 12),
        ({"tag": "parity"}, COUNT),
        ({"created_after": "2020-01-01T00:00:00Z"}, COUNT),
        ({"created_after": "2020-01-01T00:00:00+02:00"}, COUNT),
        ({"created_before": "2020-01-01"}, 0),
        ({"status": "queued", "tag": "parity:even", "to": "r0@example.net"}, 2),
    ],
)
def test_filters_narrow(listed: tuple[Product, list[str]], query: dict[str, str], count: int) -> None:
    product, _ = listed
    assert len(page(product, limit=100, **query)[0]) == count


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=101",
        "limit=1000000000",
        "limit=abc",
        "limit=1.0",
        "limit=",
        "limit=%D9%A1",
        "limit=1&limit=2",
        "status=foo",
        "status=",
        "status=queued&status=sent",
        f"sort=%24where{CANARY}",
        f"{CANARY}=1",
        "to=%0d%0aBcc:x",
        "to=not-an-address",
        "tag=a%20b",
        "tag=a:b:c",
        "subject=%00",
        "subject=%ff",
        "subject=" + "x" * 1001,
        "created_after=yesterday",
        "created_after=2026-13-01",
        "created_after=2026-02-01&created_before=2026-01-01",
        "after=1",
        f"after={CANARY}",
        "before=9b2f8f5e-3c1d-4a7e-8f60-0d1c2b3a4e5",
        "after=9b2f8f5e-3c1d-4a7e-8f60-0d1c2b3a4e5f&before=9b2f8f5e-3c1d-4a7e-8f60-0d1c2b3a4e5f",
        "&".join(f"a{i}=1" for i in range(60)),
    ],
)
def test_bad_query_is_an_invalid_parameter(listed: tuple[Product, list[str]], query: str) -> None:
    assert_refused(listed[0].request("GET", f"/emails?{query}"), 422, "invalid_parameter")


def test_unknown_or_foreign_cursor_is_not_found(listed: tuple[Product, list[str]]) -> None:
    product, ids = listed
    other = product.make_key(account="third")
    for key, cursor in ((None, str(uuid4())), (other, ids[0])):
        for name in ("after", "before"):
            answer = product.request("GET", "/emails", params={name: cursor}, key=key)
            assert_refused(answer, 404, "not_found")


def test_account_sees_its_own_emails_only(listed: tuple[Product, list[str]]) -> None:
    product, _ = listed
    answer = product.request("GET", "/emails", key=product.make_key(account="fourth")).json()
    assert answer == {"object": "list", "has_more": False, "data": []}
