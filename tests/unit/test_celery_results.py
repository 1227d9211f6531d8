"""How Celery's MongoDB results log in, as told by the URL alone."""

import pytest

from postroom.queue.celery import create_app


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("mongodb://u:p@one,two/postroom?replicaSet=rs0", "postroom"),
        ("mongodb://u:p@one/postroom?authSource=admin", "admin"),
        ("mongodb://u:p@one/", "admin"),
        ("mongodb://one/postroom", None),
    ],
)
def test_results_log_in_where_the_store_does(url: str, source: str | None) -> None:
    assert create_app("amqp://broker", url).backend.options.get("authSource") == source
