"""What the nemesis can do to the product. Each fault lasts until its function returns; then its victim runs again."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tests.chaos.posts import Post
from tests.chaos.rig import Rig
from tests.servers.clusters import RabbitMQCluster, ReplicaSet
from tests.smtpd import Accept, Action, Cut, Hold, Phase, Raw, Say, Silence

LANES = ("urgent", "normal", "bulk")
STALL_SECONDS = 3.0
Trick: TypeAlias = tuple[Phase, tuple[Action, ...]]
_GARBAGE = Raw(b"\x00\xff ** garbage **\r\n")
_LATE = Hold(until=threading.Event(), seconds=STALL_SECONDS)
TRICKS: tuple[Trick, ...] = (  # what a relay may do that refuses nobody for good
    ("connect", (Say("421 4.3.2 Too busy"), Cut())),
    ("ehlo", (Cut(),)),
    ("mail", (Say("451 4.3.0 Try again later"),)),
    ("mail", (_GARBAGE,)),
    ("rcpt", (Say("450 4.2.1 Mailbox busy"),)),
    ("rcpt", (Silence(),)),
    ("data", (Say("452 4.3.1 Short of space"),)),
    ("data", (Cut(reset=True),)),
    ("body", (Cut(),)),
    ("dot", (Say("451 4.3.0 Not now"),)),
    ("dot", (Cut(),)),  # it has not taken it, but who knows
    ("dot", (Accept(), Cut())),
    ("dot", (Accept(), Cut(reset=True))),
    ("dot", (Accept(), Raw(b"25"), Cut())),
    ("dot", (Accept(), _GARBAGE)),
    ("dot", (Accept(), Silence())),
    ("dot", (Accept(), _LATE, Say("250 2.0.0 Ok, at last"))),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One fault of a plan: when after the start of the load, how long, and on which victim (a share)."""

    at: float
    fault: str
    seconds: float = 0.0
    victim: float = 0.0

    def __str__(self) -> str:
        return f"{self.at:6.1f} s  {self.fault} ({self.seconds:.1f} s, victim {self.victim:.2f})"


def _one_of(pids: list[int], strike: Strike) -> list[int]:
    return [pids[int(strike.victim * len(pids))]] if pids else []


def _post(rig: Rig, kind: str, strike: Strike) -> Post:
    posts = rig.posts.of(kind)
    return posts[int(strike.victim * len(posts))]


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


# -- our own processes ------------------------------------------------------------------------------------------------


def kill_child(rig: Rig, strike: Strike) -> None:
    """kill -9 of one process that delivers."""
    pids = _one_of(rig.workers(), strike)
    rig.strike(pids)
    _signal(pids, signal.SIGKILL)


def kill_worker(rig: Rig, strike: Strike) -> None:
    """kill -9 of a worker's parent; its children die with it."""
    post = _post(rig, "worker", strike)
    rig.strike(post.children())
    _signal([post.member.process.pid], signal.SIGKILL)


def stop_worker(rig: Rig, strike: Strike) -> None:
    """SIGTERM to a worker's whole process group, as some platforms stop containers."""
    post = _post(rig, "worker", strike)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(post.member.process.pid, signal.SIGTERM)
    post.member.process.wait(60)


def freeze_child(rig: Rig, strike: Strike) -> None:
    """SIGSTOP of one process that delivers, and SIGCONT later."""
    pids = _one_of(rig.workers(), strike)
    rig.strike(pids)
    _signal(pids, signal.SIGSTOP)
    time.sleep(strike.seconds)
    _signal(pids, signal.SIGCONT)


def kill_api_process(rig: Rig, strike: Strike) -> None:
    """kill -9 of one process that serves."""
    _signal(_one_of(_post(rig, "serve", strike).children(), strike), signal.SIGKILL)


def freeze_api_process(rig: Rig, strike: Strike) -> None:
    """SIGSTOP of one process that serves, and SIGCONT later."""
    pids = _one_of(_post(rig, "serve", strike).children(), strike)
    _signal(pids, signal.SIGSTOP)
    time.sleep(strike.seconds)
    _signal(pids, signal.SIGCONT)


def freeze_worker(rig: Rig, strike: Strike) -> None:
    """SIGSTOP of a worker's parent, and SIGCONT later; its children go on."""
    pids = [_post(rig, "worker", strike).member.process.pid]
    _signal(pids, signal.SIGSTOP)
    time.sleep(strike.seconds)
    _signal(pids, signal.SIGCONT)


def kill_api(rig: Rig, strike: Strike) -> None:
    """kill -9 of the parent of those that serve."""
    _signal([_post(rig, "serve", strike).member.process.pid], signal.SIGKILL)


def kill_sweep(rig: Rig, strike: Strike) -> None:
    """kill -9 of a sweep, and none in its place for a while."""
    post = _post(rig, "sweep", strike)
    post.vacant = True
    _signal([post.member.process.pid], signal.SIGKILL)
    time.sleep(strike.seconds)
    post.vacant = False


def add_sweep(rig: Rig, strike: Strike) -> None:
    """One more sweep, from now on."""
    rig.posts.add("sweep", Post(rig.fleet, "postroom", "sweep"))


# -- the broker -------------------------------------------------------------------------------------------------------


def kill_broker(rig: Rig, strike: Strike) -> None:
    """kill -9 of RabbitMQ, and its restart later."""
    rig.broker.kill()
    time.sleep(strike.seconds)
    rig.broker.start()


def freeze_broker(rig: Rig, strike: Strike) -> None:
    """SIGSTOP of RabbitMQ, and SIGCONT later."""
    with rig.broker.frozen():
        time.sleep(strike.seconds)


def memory_alarm(rig: Rig, strike: Strike) -> None:
    """RabbitMQ believes itself short of memory and blocks whoever publishes."""
    with rig.broker.under_memory_alarm():
        time.sleep(strike.seconds)


def partition_broker(rig: Rig, strike: Strike) -> None:
    """One node of RabbitMQ and the two others lose each other."""
    assert isinstance(rig.broker, RabbitMQCluster), "this needs the nodes of a cluster"
    with rig.broker.partitioned():
        time.sleep(strike.seconds)


def close_connections(rig: Rig, strike: Strike) -> None:
    """RabbitMQ closes every connection."""
    rig.broker.close_all_connections()


def purge_queues(rig: Rig, strike: Strike) -> None:
    """Every wake-up is gone."""
    for lane in LANES:
        rig.broker.purge(f"postroom.{lane}")


def delete_queues(rig: Rig, strike: Strike) -> None:
    """Every queue is gone."""
    for lane in LANES:
        rig.broker.delete_queue(f"postroom.{lane}")


def wipe_broker(rig: Rig, strike: Strike) -> None:
    """kill -9 of RabbitMQ, its data folder emptied, and its restart."""
    rig.broker.wipe()


# -- the store --------------------------------------------------------------------------------------------------------


def kill_store(rig: Rig, strike: Strike) -> None:
    """kill -9 of the store's server, and its restart later."""
    rig.store.kill()
    time.sleep(strike.seconds)
    rig.store.start()


def freeze_store(rig: Rig, strike: Strike) -> None:
    """SIGSTOP of the store's server, and SIGCONT later."""
    with rig.store.frozen():
        time.sleep(strike.seconds)


def _members(rig: Rig) -> ReplicaSet:
    assert isinstance(rig.store, ReplicaSet), "this needs the members of a replica set"
    return rig.store


def step_down(rig: Rig, strike: Strike) -> None:
    """The primary gives up, ready or not, and another is elected."""
    _members(rig).step_down()


def lose_majority(rig: Rig, strike: Strike) -> None:
    """SIGSTOP of all members but the primary, and SIGCONT later."""
    with _members(rig).without_majority():
        time.sleep(strike.seconds)


def resync_member(rig: Rig, strike: Strike) -> None:
    """A secondary is killed, emptied, and gets everything anew from the others."""
    _members(rig).resync()


# -- the relay --------------------------------------------------------------------------------------------------------


def trick(rig: Rig, strike: Strike) -> None:
    """The relay misbehaves towards the next two emails."""
    phase, actions = TRICKS[int(strike.victim * len(TRICKS))]
    rig.sink.script.on(phase, *actions, times=2)


def relay_down(rig: Rig, strike: Strike) -> None:
    """Nobody listens at the relay, and every connection to it is gone."""
    rig.sink.stop()
    time.sleep(strike.seconds)
    rig.sink.start()


FAULTS: Mapping[str, Callable[[Rig, Strike], None]] = {
    function.__name__: function
    for function in (
        *(kill_child, kill_worker, stop_worker, freeze_child, freeze_worker),
        *(kill_api_process, freeze_api_process, kill_api, kill_sweep, add_sweep),
        *(kill_broker, freeze_broker, memory_alarm, partition_broker, close_connections),
        *(purge_queues, delete_queues, wipe_broker),
        *(kill_store, freeze_store, step_down, lose_majority, resync_member, trick, relay_down),
    )
}
TARGETS: Mapping[str, str] = {  # faults of one target take turns
    **dict.fromkeys(("kill_child", "kill_worker", "stop_worker", "freeze_child", "freeze_worker"), "worker"),
    **dict.fromkeys(("kill_api_process", "freeze_api_process", "kill_api"), "serve"),
    **dict.fromkeys(("kill_sweep", "add_sweep"), "sweep"),
    **dict.fromkeys(("kill_store", "freeze_store", "step_down", "lose_majority", "resync_member"), "store"),
    **dict.fromkeys(("trick", "relay_down"), "relay"),
}  # the rest: the broker


def every(
    chance: random.Random,
    seconds: float,
    *faults: str,
    start: float,
    pause: float,
    lasting: tuple[float, float] = (0, 0),
) -> list[Strike]:
    """A plan: these faults in turn, a pause (and a bit) between two, from `start` until the load ends."""
    plan: list[Strike] = []
    at = start
    while at < seconds - 1 or not plan:
        fault = faults[len(plan) % len(faults)]
        strike = Strike(at=at, fault=fault, seconds=chance.uniform(*lasting), victim=chance.random())
        plan.append(strike)
        at += strike.seconds + pause * chance.uniform(0.8, 1.2)
    return plan
