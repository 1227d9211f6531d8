"""The commands of docs/backups.md, word by word: a copy made under load, all data removed, and the copy restored."""

import pytest

from tests.stack import books
from tests.stack.stand import Stand

BACKUP = {
    "mongodb": ("containers.md", "umask 077\ndocker compose exec -T mongodb"),
    "redis": ("backups.md", "(umask 077 && docker compose exec -T redis"),
}
RESTORE = {
    "mongodb": ("backups.md", "docker compose stop fastapi-app worker sweep\n"),
    "redis": ("backups.md", "docker compose stop fastapi-app worker sweep redis\n"),
}


@pytest.mark.parametrize("store", ["mongodb", "redis"])
def test_copy_that_was_made_under_load_is_restored_where_nothing_is_left(stand: Stand, store: str) -> None:
    stand.choose(store=store)
    if store == "mongodb" and stand.compose("exec", "-T", "mongodb", "mongodump", "--version").returncode != 0:
        pytest.skip("this image of MongoDB is without mongodump")
    kept = stand.submit(scheduled_at="in 1 hour", subject="kept")
    with books.load(stand, rate=10) as ledger:
        books.more(ledger, 30)
        before = set(ledger.accepted.values())
        stand.documented(*BACKUP[store])
    stand.make("destroy", YES="1")
    stand.make("start")
    assert stand.api("GET", f"/emails/{kept}").status_code == 404
    stand.documented(*RESTORE[store])
    email = stand.email(kept)
    assert (email["status"], email["subject"]) == ("scheduled", "kept")
    books.expect_all_sent(stand, before)
