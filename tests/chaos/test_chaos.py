"""The short version of `make chaos`: every kind of fault on MongoDB and on Redis, RabbitMQ wiped under load, and
elections among three members of MongoDB."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.rig import StoreKind, servers
from tests.chaos.run import Order, run
from tests.chaos.scenarios import SCENARIOS


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("name", "store", "nodes", "seconds"),
    [
        ("mixed", "mongo", 1, 40),
        ("mixed", "redis", 1, 30),
        ("broker-wiped", "mongo", 1, 12),
        ("elections", "mongo", 3, 20),
    ],
)
def test_every_promise_holds(
    name: str,
    store: StoreKind,
    nodes: int,
    seconds: float,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    record_property("seed", seed)
    order = Order(name=name, scenario=SCENARIOS[name], seed=seed, seconds=seconds, rate=20)
    with servers(store, clustered=nodes > 1) as (broker, shared_store):
        findings = run(order, broker, shared_store, tmp_path)
    repeat = f"make chaos SCENARIO={name} STORE={store} NODES={nodes} SEED={seed} SECONDS={seconds}"
    assert findings.violations == [], f"{repeat}; logs in {tmp_path}"
    assert findings.accepted > 100
