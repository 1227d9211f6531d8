"""Pages of a store with so many emails that it matters how they are found."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest

from postroom.mail.email import Email, Status
from postroom.store.base import Query
from postroom.store.mongo import MongoStore
from tests import make
from tests.make import ACCOUNT
from tests.servers.mongodb import MongoDB

EACH = 2500  # emails: more than are soon put in the order of their ids


@pytest.fixture(scope="module")
def module_store(mongodb_server: MongoDB) -> Iterator[MongoStore]:
    store = MongoStore(mongodb_server.url(f"postroom_test_{uuid4().hex[:8]}"))
    yield store
    store.close()


@pytest.fixture(scope="module")
def emails(module_store: MongoStore) -> Sequence[Email]:
    """Old ones, and then new ones; every tenth email is canceled."""
    now = module_store.clock()
    stored = [
        make.email(now, subject=f"{age} {number}", tags=(("tenth", str(number % 10)),))
        for age in ("Old", "New")
        for number in range(EACH)
    ]
    for start in range(0, len(stored), 500):
        make.stored(module_store, now, *stored[start : start + 500])
    for email in stored[::100]:
        module_store.cancel(ACCOUNT, email.id, now=now)
    return stored


def pages(store: MongoStore, **wanted: Any) -> Iterator[str]:
    """The ids on all pages, from the newest on."""
    cursor = None
    while True:
        page = store.list(Query(account=ACCOUNT, limit=100, after=cursor, **wanted))
        yield from (email.id for email in page.emails)
        if not page.has_more:
            return
        cursor = page.emails[-1].id


@pytest.mark.slow
@pytest.mark.parametrize("beginning", ["old", "new", "OLD 1", "new 24", "n", "old 1(", "", "zzz"])
@pytest.mark.parametrize("more", [{}, {"tag": "tenth:0"}, {"status": [Status.CANCELED], "tag": "tenth"}], ids=str)
def test_pages_by_subject_hold_every_email_once(
    module_store: MongoStore, emails: Sequence[Email], beginning: str, more: dict[str, Any]
) -> None:
    expected = [
        email.id
        for place, email in enumerate(emails)
        if email.subject.casefold().startswith(beginning.casefold())
        and ("tag" not in more or more["tag"] == "tenth" or email.tags == (("tenth", "0"),))
        and ("status" not in more or place % 100 == 0)
    ]
    assert list(pages(module_store, subject=beginning or None, **more)) == expected[::-1]
