"""All scenarios by name, in the order in which `SCENARIO=all` runs them."""

from collections.abc import Mapping

from bench.scenarios import scale, simulated, stored
from bench.scenarios.base import Scenario

ALL: Mapping[str, Scenario] = {
    "children": scale.children,
    "relay": scale.relay,
    "simulated": simulated.simulated,
    "latency": scale.latency,
    "memory": scale.memory,
    "stored": stored.stored,
}
