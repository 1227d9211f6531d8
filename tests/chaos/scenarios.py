"""The scenarios: what is done to which part, with which settings, and what must hold beside the books."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.faults import TRICKS, Strike, every
from tests.chaos.rig import QUICK

CALM_SECONDS = 4.0  # at the start of every load, to compare with

Plan = Callable[[random.Random, float], Sequence[Strike]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`plan` makes the faults from a source of chance and the length of the load, always the same from the same."""

    what: str
    plan: Plan
    seconds: float = 20.0  # of load
    settings: Mapping[str, str] = field(default_factory=lambda: QUICK)
    workers: int = 1
    with_broker: bool = True
    of_nodes: bool = False  # there must be several of RabbitMQ, and several members of MongoDB
    relay_seconds: float = 0.02  # what the relay takes for an email
    doubt_free: bool = False  # no hand-off may end in doubt: not one duplicate, not one flag
    api_dies: bool = False  # requests may break off
    api_freezes: bool = False  # they may take long
    store_fails: bool = False  # submissions may be refused, by 503 within three seconds
    recovery_seconds: float | None = None  # in which an email before its fence must be back at work
    patience: float = 90.0  # for the books to balance after the load


def _plan(*faults: str, pause: float, lasting: tuple[float, float] = (0, 0)) -> Plan:
    return lambda chance, seconds: every(chance, seconds, *faults, start=CALM_SECONDS, pause=pause, lasting=lasting)


def _sweeps(chance: random.Random, seconds: float) -> list[Strike]:
    """None for a while, then killed again and again, then two of them killed in turn."""
    half = seconds / 2
    plan = [Strike(at=CALM_SECONDS, fault="kill_sweep", seconds=half - CALM_SECONDS)]
    plan += [Strike(at=half, fault="add_sweep")]
    return plan + every(chance, seconds, "kill_sweep", start=half + 1, pause=1.0, lasting=(0, 1))


def _tricks(chance: random.Random, seconds: float) -> list[Strike]:
    """Every trick once, in any order; and then the relay is away."""
    shares = [(number + 0.5) / len(TRICKS) for number in range(len(TRICKS))]
    chance.shuffle(shares)
    step = (seconds - CALM_SECONDS) / (len(shares) + 1)
    plan = [Strike(at=CALM_SECONDS + i * step, fault="trick", victim=share) for i, share in enumerate(shares)]
    return [*plan, Strike(at=seconds - step, fault="relay_down", seconds=5)]


_MIXED_SECONDS = 2.5  # between two faults
_MIXED: Mapping[str, tuple[float, float]] = {  # faults, and how long they last
    **dict.fromkeys(("kill_child", "kill_worker", "stop_worker", "kill_api_process", "kill_api"), (0.0, 0.0)),
    **dict.fromkeys(("close_connections", "purge_queues", "delete_queues", "wipe_broker"), (0.0, 0.0)),
    **dict.fromkeys(("freeze_child", "freeze_worker", "kill_sweep", "memory_alarm", "relay_down"), (2.0, 6.0)),
    **dict.fromkeys(("kill_broker", "freeze_broker", "freeze_store", "kill_store"), (1.0, 4.0)),
    "trick": (0.0, 0.0),
}


def _mixed(chance: random.Random, seconds: float) -> list[Strike]:
    """Every kind of fault in any order, each once or, in a long load, again and again."""
    count = max(len(_MIXED), int((seconds - CALM_SECONDS) / _MIXED_SECONDS))
    step = (seconds - CALM_SECONDS) / count
    plan: list[Strike] = []
    waiting: list[str] = []
    for number in range(count):
        waiting = waiting or chance.sample(list(_MIXED), len(_MIXED))
        fault = waiting.pop()
        at = CALM_SECONDS + (number + chance.uniform(0, 0.8)) * step
        plan.append(Strike(at=at, fault=fault, seconds=chance.uniform(*_MIXED[fault]), victim=chance.random()))
    return plan


_DEFAULT_TIMES = {"relay_command_seconds": "10"}  # leases and everything else as shipped

SCENARIOS: Mapping[str, Scenario] = {
    "children-killed": Scenario(
        what="a process that delivers is killed each second", plan=_plan("kill_child", pause=1)
    ),
    "workers-killed": Scenario(
        what="two workers; the parent of one is killed every 5 s", plan=_plan("kill_worker", pause=5), workers=2
    ),
    "workers-stopped": Scenario(
        what="SIGTERM to a worker's whole process group, again and again",
        plan=_plan("stop_worker", pause=4),
        doubt_free=True,
    ),
    "children-frozen": Scenario(
        what="a process that delivers stands still for 3 to 15 s",
        plan=_plan("freeze_child", pause=2, lasting=(3, 15)),
        seconds=40,
    ),
    "api-killed": Scenario(
        what="API processes, and their parent, are killed in turn",
        plan=_plan("kill_api_process", "kill_api", pause=2),
        doubt_free=True,
        api_dies=True,
    ),
    "api-frozen": Scenario(
        what="an API process stands still for 3 to 8 s",
        plan=_plan("freeze_api_process", pause=2, lasting=(3, 8)),
        doubt_free=True,
        api_freezes=True,
    ),
    "workers-frozen": Scenario(
        what="a worker's parent stands still for 3 to 15 s",
        plan=_plan("freeze_worker", pause=2, lasting=(3, 15)),
        seconds=30,
        doubt_free=True,
    ),
    "sweeps": Scenario(what="no sweep for a while, a sweep killed, two sweeps", plan=_sweeps, doubt_free=True),
    "broker-killed": Scenario(
        what="RabbitMQ is killed, and comes back after 1 to 5 s",
        plan=_plan("kill_broker", pause=6, lasting=(1, 5)),
        seconds=40,
        doubt_free=True,
    ),
    "broker-frozen": Scenario(
        what="RabbitMQ stands still for 5 to 30 s",
        plan=_plan("freeze_broker", pause=4, lasting=(5, 30)),
        seconds=50,
        doubt_free=True,
    ),
    "broker-partitioned": Scenario(
        what="the node of RabbitMQ that leads and the two others lose each other for 5 to 15 s",
        plan=_plan("partition_broker", pause=6, lasting=(5, 15)),
        seconds=40,
        of_nodes=True,
        doubt_free=True,
    ),
    "memory-alarm": Scenario(
        what="RabbitMQ blocks publishers for 5 to 15 s",
        plan=_plan("memory_alarm", pause=3, lasting=(5, 15)),
        seconds=40,
        doubt_free=True,
    ),
    "connections-closed": Scenario(
        what="RabbitMQ closes all connections every 5 s", plan=_plan("close_connections", pause=5), doubt_free=True
    ),
    "queues-emptied": Scenario(
        what="the queues are purged and deleted in turn",
        plan=_plan("purge_queues", "delete_queues", pause=2),
        doubt_free=True,
    ),
    "no-broker": Scenario(
        what="RabbitMQ is down for the whole run",
        plan=lambda *_: [],
        with_broker=False,
        doubt_free=True,
    ),
    "broker-wiped": Scenario(
        what="RabbitMQ's data folder is emptied under load", plan=_plan("wipe_broker", pause=10), doubt_free=True
    ),
    "store-killed": Scenario(
        what="the store is killed, and comes back after 0 to 4 s",
        plan=_plan("kill_store", pause=5, lasting=(0, 4)),
        seconds=40,
        store_fails=True,
    ),
    "store-frozen": Scenario(
        what="the store stands still for 1 to 12 s",
        plan=_plan("freeze_store", pause=4, lasting=(1, 12)),
        seconds=50,
        store_fails=True,
    ),
    "elections": Scenario(
        what="the store's primary steps down, is killed, freezes for longer than an election; a secondary is emptied",
        plan=_plan("step_down", "kill_store", "step_down", "freeze_store", "resync_member", pause=3, lasting=(3, 6)),
        seconds=50,
        workers=2,
        of_nodes=True,
        store_fails=True,
    ),
    "majority-lost": Scenario(
        what="all members of the store but its primary stand still for 1 to 8 s",
        plan=_plan("lose_majority", pause=4, lasting=(1, 8)),
        seconds=40,
        of_nodes=True,
        store_fails=True,
    ),
    "relay-trouble": Scenario(
        what="the relay refuses, stalls, cuts and talks nonsense at every phase, and goes away",
        plan=_tricks,
        seconds=40,
    ),
    "recovery": Scenario(
        what="leases as shipped, a slow relay; a process is killed every 20 s: back at work within 45 s",
        plan=_plan("kill_child", "kill_worker", pause=20),
        seconds=50,
        settings=_DEFAULT_TIMES,
        workers=2,
        relay_seconds=1.0,
        recovery_seconds=45,
        patience=300,
    ),
    "mixed": Scenario(
        what="all of these, drawn at random",
        plan=_mixed,
        seconds=90,
        workers=2,
        api_dies=True,
        store_fails=True,
        patience=150,
    ),
}
