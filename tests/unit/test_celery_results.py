"""How Celery's results reach their server, as told by the URL alone."""

import ssl

import pytest

from postroom.queue.celery import create_app


@pytest.mark.parametrize(
    ("url", "database", "source"),
    [
        ("mongodb://u:p@one,two/postroom?replicaSet=rs0", "postroom", "postroom"),
        ("mongodb://u:p@one/postroom?authSource=admin", "postroom", "admin"),
        ("mongodb://u:p@one/", "celery", "admin"),
        ("mongodb://one/postroom", "postroom", None),
    ],
)
def test_results_log_in_where_the_store_does(url: str, database: str, source: str | None) -> None:
    results = create_app("amqp://broker", url).backend.database
    credentials = results.client.options.pool_options._credentials
    assert results.name == database
    assert (credentials.source if credentials else None) == source


def test_results_ask_the_dns_when_they_are_kept_and_not_before() -> None:
    app = create_app("amqp://broker", "mongodb+srv://u:hunter2@results.invalid/postroom")
    assert app.backend.database.name == "postroom"
    assert "hunter2" not in app.backend.as_uri()


@pytest.mark.parametrize(
    ("query", "required"),
    [("", ssl.CERT_REQUIRED), ("?ssl_ca_certs=/ca.pem", ssl.CERT_REQUIRED), ("?ssl_cert_reqs=none", ssl.CERT_NONE)],
)
def test_results_in_redis_over_tls_verify_the_server_unless_told_otherwise(query: str, required: int) -> None:
    backend = create_app("amqp://broker", f"rediss://one/0{query}").backend
    assert backend.connparams["ssl_cert_reqs"] == required
