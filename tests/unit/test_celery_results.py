"""How Celery's results reach their server, as told by the URL alone."""

import ssl

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


@pytest.mark.parametrize(
    ("query", "required"),
    [("", ssl.CERT_REQUIRED), ("?ssl_ca_certs=/ca.pem", ssl.CERT_REQUIRED), ("?ssl_cert_reqs=none", ssl.CERT_NONE)],
)
def test_results_in_redis_over_tls_verify_the_server_unless_told_otherwise(query: str, required: int) -> None:
    backend = create_app("amqp://broker", f"rediss://one/0{query}").backend
    assert backend.connparams["ssl_cert_reqs"] == required
