"""Liveness, readiness, documentation: for everybody, and without a word too many."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.engines import Engine
from tests.product import EMAIL, Product, running
from tests.refusals import CANARY, assert_refused
from tests.smtpd import Offer, Say, Smtpd


@pytest.mark.one_engine
@pytest.mark.parametrize("path", ["/livez", "/healthz"])
def test_process_lives(product: Product, path: str) -> None:
    answer = product.request("GET", path, key="")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["x-request-id"]
    assert product.request("HEAD", path, key="").status_code == 200


def test_ready_names_its_parts(product: Product) -> None:
    names = ["store", "intake"] if product.engine.name == "sqlite" else ["store", "broker", "intake"]
    answer = product.request("GET", "/readyz", key="")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "parts": dict.fromkeys(names, "ok")})


def test_health_has_details_but_no_addresses(product: Product) -> None:
    product.submit(to=f"{CANARY}@example.net", subject=CANARY)
    answer = product.request("GET", "/health", key="")
    body = answer.json()
    assert answer.status_code == 200
    assert body.keys() == {"status", "parts", "version", "uptime_seconds", "requests_under_way", "backlog"}
    assert body["parts"].get("relay") == ("ok" if product.engine.name == "sqlite" else None)
    assert body["backlog"] >= 0
    assert CANARY not in answer.text


@pytest.mark.one_engine
def test_health_names_a_relay_that_refuses_us_until_it_lets_us_in(engine: Engine, tmp_path: Path) -> None:
    with Smtpd(Offer(users={"user": "pass"})) as server:
        server.script.on("auth", Say(f"535 5.7.8 {CANARY}"), times=1)
        relay = server.url.replace("://", "://user:pass@") + "?tls=none"
        with running(engine, tmp_path, relay=relay, environ={"POSTROOM_ROUTE_DELAY_SECONDS": "0.1"}) as product:
            email_id = product.submit()
            product.wait_until(lambda: _health(product)["status"] == "degraded")
            health = _health(product)
            assert "refuses us" in health["parts"]["relay"]
            assert CANARY not in str(health)
            assert product.request("GET", "/readyz", key="").json()["status"] == "ok"
            product.wait_for(email_id, "sent")
            assert _health(product)["parts"]["relay"] == "ok"


def _health(product: Product) -> dict[str, Any]:
    answer = product.request("GET", "/health", key="")
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.mark.one_engine
@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_documentation_is_served_without_a_key(product: Product, path: str) -> None:
    assert product.request("GET", path, key="").status_code == 200


@pytest.mark.one_engine
@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_loads_nothing_from_elsewhere(product: Product, path: str) -> None:
    shown = product.request("GET", path, key="")
    assert shown.headers["content-security-policy"].startswith("default-src 'self' ")  # for what the scripts load, too
    page = shown.text
    loaded = re.findall(r"""(?:src|href|url)=?:?\s*["']([^"']+)["']""", page)
    assert len(loaded) >= 2
    for address in loaded:
        answer = product.request("GET", address, key="")
        assert (answer.status_code, address[0]) == (200, "/"), address
        assert answer.content
    assert not re.search(r"https?://", page)


@pytest.mark.one_engine
@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_names_its_language(product: Product, path: str) -> None:
    assert '<html lang="en">' in product.request("GET", path, key="").text


@pytest.mark.one_engine
def test_scripts_that_are_not_there_are_answered_as_any_other_path(product: Product) -> None:
    assert_refused(product.request("GET", "/docs/assets/other.js"), 404, "not_found")
    assert_refused(product.request("GET", "/docs/assets/../../app.py"), 404, "not_found")


@pytest.mark.one_engine
@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_documentation_can_be_switched_off(engine: Engine, tmp_path: Path, path: str) -> None:
    with running(engine, tmp_path, deliver=False, environ={"POSTROOM_DOCS": "false"}) as product:
        assert_refused(product.request("GET", path, key=""), 404, "not_found")
        assert product.request("POST", "/emails", json=EMAIL).status_code == 200
