"""Each setting arrives where it belongs, in its own unit. No two have the same value, and none the default."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from postroom import settings, wiring
from postroom.api import idempotency
from postroom.deliver import TurnSettings
from postroom.mail.email import Email, Lane
from postroom.mail.retry import RetryPolicy
from postroom.queue.memory import MemoryQueue
from postroom.settings import Settings
from postroom.store.base import Store
from postroom.transport.simulated import SimulatedTransport
from postroom.transport.smtp import Relay, SmtpTransport, Timeouts
from postroom.transport.smtp.relay import Tls
from postroom.worker.duties import PRUNE_SECONDS, duties_of, turn_settings_of
from tests import certificates, make
from tests.engines import Engine
from tests.make import SECOND
from tests.product import ACCOUNT, EMAIL, Product, running
from tests.smtpd import Smtpd

VALUES: Mapping[str, Any] = {
    "relay_url": "smtp://relay.example.com:2525",
    "relay_connect_seconds": 101,
    "relay_command_seconds": 102,
    "relay_body_seconds": 103,
    "relay_dot_seconds": 104,
    "relay_connections": 105,
    "relay_ehlo_name": "postroom.example.net",
    "return_path": "bounces@example.net",
    "retry_base_seconds": 106,
    "retry_cap_seconds": 107,
    "route_delay_seconds": 108,
    "doubt_delay_seconds": 109,
    "lease_seconds": 110,
    "doubt_lease_seconds": 111,
    "attempt_seconds": 112,
    "stop_seconds": 113,
    "chunk_size": 114,
    "sweep_seconds": 115,
    "wake_up_seconds": 116,
    "retention_days": 117,
    "commit_linger_ms": 99,
    "max_age_hours": 118,
    "max_attempts": 119,
    "idempotency_hours": 120,
    "simulated_min_seconds": 3,
    "simulated_max_seconds": 98,
    "simulated_capacity": 121,
}
POLICY = RetryPolicy(base=106 * SECOND, cap=107 * SECOND, route_delay=108 * SECOND, doubt_delay=109 * SECOND)
HOURS = timedelta(hours=1)


def variables(**changes: object) -> dict[str, str]:
    return {settings.variable(name): str(value) for name, value in {**VALUES, **changes}.items()}


def loaded(**changes: object) -> Settings:
    return settings.load(variables(**changes))


class Asked:
    """A store with something due, which notes what the sweep asks of it; its time stands still."""

    def __init__(self, now: datetime, due: int) -> None:
        self.now = now
        self.ids = [str(serial) for serial in range(due)]
        self.asked: dict[str, Mapping[str, object]] = {}

    def clock(self) -> datetime:
        return self.now

    def lapse_clock(self) -> datetime:
        return self.now

    def due(self, _: int, **asked: object) -> Mapping[Lane, list[str]]:
        self.asked["due"] = asked
        return {Lane.NORMAL: self.ids}

    def recover(self, _: int, **asked: object) -> int:
        self.asked["recover"] = asked
        return 0

    def expire(self, _: int, **asked: object) -> int:
        self.asked["expire"] = asked
        return 0

    def prune(self, _: int, **asked: object) -> int:
        self.asked["prune"] = asked
        return 0


def test_no_value_could_be_taken_for_another() -> None:
    assert len(set(map(str, VALUES.values()))) == len(VALUES)
    usual = settings.load({})
    assert [name for name, value in VALUES.items() if str(getattr(usual, name)) == str(value)] == []


def test_relay_has_its_settings(tmp_path: Path) -> None:
    ca_file = certificates.make(tmp_path).ca_file
    with closing(wiring.open_transport(loaded(relay_ca_file=ca_file))) as transport:
        assert isinstance(transport, SmtpTransport)
        assert transport._relay == Relay(
            host="relay.example.com",
            port=2525,
            tls=Tls.STARTTLS,
            ehlo_name="postroom.example.net",
            connections=105,
            ca_file=str(ca_file),
            timeouts=Timeouts(
                connect=101, greeting=102, command=102, starttls=102, auth=102, body=103, dot=104, attempt=112
            ),
        )


def test_simulated_relay_has_its_settings() -> None:
    transport = wiring.open_transport(loaded(relay_url="simulated://"))
    assert isinstance(transport, SimulatedTransport)
    assert transport.capacity == 121
    assert (transport._min_seconds, transport._min_seconds + transport._spread_seconds) == (3, 98)


def test_turn_has_its_settings() -> None:
    assert turn_settings_of(loaded()) == TurnSettings(
        policy=POLICY,
        lease=110 * SECOND,
        doubt_lease=111 * SECOND,
        attempt_limit=112 * SECOND,
        stop_limit=113 * SECOND,
        claim_size=114,
        return_path="bounces@example.net",
    )


def test_duties_have_their_settings() -> None:
    now, queue = make.now(), MemoryQueue()
    store = Asked(now, due=114 + 1)
    duties = duties_of(loaded(), store=cast(Store, store), queue=queue)
    for duty, _ in duties:
        duty()
    assert [pause for _, pause in duties] == [115, 115, 115, PRUNE_SECONDS]
    assert store.asked == {
        "due": {"now": now, "wake_up_again_at": now + 116 * SECOND},
        "recover": {"now": now, "doubt_delay": 109 * SECOND},
        "expire": {"now": now},
        "prune": {"now": now, "finished_before": now - timedelta(days=117)},
    }
    assert queue.take(0) == (Lane.NORMAL, store.ids[:114])


def test_accepting_side_has_its_settings(tmp_path: Path) -> None:
    with closing(wiring.build(loaded(store_url=f"sqlite:///{tmp_path / 'store.sqlite3'}"))) as postroom:
        postroom.start()
        assert postroom.intake._linger_seconds == 0.099
        assert postroom.intake._wake_up_after == 116 * SECOND
        assert postroom.publisher._chunk_size == 114


@pytest.fixture
def patient(engine: Engine, tmp_path: Path) -> Iterator[Product]:
    """A product with these settings, but for the relay, for which nobody has to wait."""
    changes = {"relay_url": "simulated://"}
    with running(engine, tmp_path, deliver=False, environ=variables(**changes)) as product:
        yield product


def as_stored(product: Product, email_id: str) -> Email:
    email = product.postroom.store.get(ACCOUNT, email_id)
    assert email is not None
    return email


@pytest.mark.one_engine
def test_email_is_accepted_by_the_settings(patient: Product) -> None:
    email = as_stored(patient, patient.submit())
    accepted_at = email.life.timeline[0].at
    assert email.max_attempts == 119
    assert email.life.expires_at == accepted_at + 118 * HOURS


@pytest.mark.one_engine
def test_email_is_tried_again_by_hand_by_the_settings(patient: Product) -> None:
    email_id, due = patient.submit(), patient.postroom.store.due
    for step in ("cancel", "retry"):
        assert patient.request("POST", f"/emails/{email_id}/{step}").status_code == 200
    life = as_stored(patient, email_id).life
    retried_at = life.timeline[-1].at
    assert life.expires_at == retried_at + 118 * HOURS
    for seconds, expected in ((115, {}), (116, {Lane.NORMAL: [email_id]})):
        assert due(10, now=retried_at + seconds * SECOND, wake_up_again_at=retried_at + HOURS) == expected


@pytest.mark.one_engine
def test_idempotency_key_is_remembered_for_as_long_as_is_set(patient: Product) -> None:
    answer = patient.request("POST", "/emails", json=EMAIL, headers={"Idempotency-Key": "a key"})
    accepted_at = as_stored(patient, answer.json()["id"]).life.timeline[0].at
    key = idempotency.bind("a key", dict(EMAIL), endpoint="emails", mode="strict", now=accepted_at, hours=0)
    assert key is not None
    replay, end = patient.postroom.store.replay, accepted_at + 120 * HOURS
    assert replay(ACCOUNT, key, now=end - SECOND) == answer.text
    assert replay(ACCOUNT, key, now=end) is None


@pytest.mark.one_engine
def test_relay_is_told_the_return_path_that_is_set(engine: Engine, tmp_path: Path, server: Smtpd) -> None:
    environ = {settings.variable("return_path"): VALUES["return_path"]}
    with running(engine, tmp_path, relay=server.url, environ=environ) as product:
        product.submit()
        [received] = server.wait_for(1)
        assert received.mail_from == VALUES["return_path"]
