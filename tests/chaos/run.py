"""One scenario from start to books: calm, faults under load, quiet, a clean stop, and the verdict."""

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postroom.mail.email import Status
from tests.chaos import aftermath, checker
from tests.chaos.checker import Evidence, Findings
from tests.chaos.faults import Strike
from tests.chaos.ledger import RECIPIENTS, Kind, Ledger
from tests.chaos.load import Load
from tests.chaos.nemesis import Nemesis
from tests.chaos.rig import Broker, Rig, StoreServer, rig
from tests.chaos.scenarios import Scenario
from tests.smtpd import Accept, Hold, Say

CLIENTS = 4
KINDS = {Kind.PLAIN: 60, Kind.REFUSED: 5, Kind.SCHEDULED: 10, Kind.HOLD: 15, Kind.CANCELED: 10}  # how often
UNDER_WAY = (Status.SCHEDULED, Status.QUEUED, Status.SENDING, Status.RETRYING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a scenario is to be run. The same seed brings the same plan."""

    name: str
    scenario: Scenario
    seed: int
    seconds: float
    rate: float

    def plan(self) -> list[Strike]:
        """The faults."""
        return sorted(self.scenario.plan(self.chance("plan"), self.seconds), key=lambda strike: strike.at)

    def chance(self, of_what: str) -> random.Random:
        """A source of chance for one purpose."""
        return random.Random(f"{self.seed}/{self.name}/{of_what}")


def run(order: Order, broker: Broker, store: StoreServer, folder: Path) -> Findings:
    """Runs a scenario on these servers, with the logs in `folder`."""
    scenario = order.scenario
    with rig(
        broker, store, folder, settings=scenario.settings, workers=scenario.workers, with_broker=scenario.with_broker
    ) as stage:
        _instruct(stage, scenario)
        ledger, nemesis = Ledger(), Nemesis(stage, order.plan())
        chance = order.chance("kinds")
        load = Load(
            ledger,
            address=stage.address,
            key=stage.key,
            rate=order.rate,
            clients=CLIENTS,
            name=f"{order.name}-{order.seed}",
            kind=lambda: chance.choices(list(KINDS), list(KINDS.values()))[0],
        )
        load.start()
        nemesis.start()
        time.sleep(order.seconds)
        nemesis.join()
        load.stop(patience=30)
        return _books(order, stage, ledger, nemesis)


def _instruct(stage: Rig, scenario: Scenario) -> None:
    """The relay takes its time before the fence and after it, and refuses one recipient for good."""
    half = Hold(until=threading.Event(), seconds=scenario.relay_seconds / 2)
    stage.sink.script.on("data", half, Say("354 Go ahead"))
    stage.sink.script.on("dot", Accept(), half, Say("250 2.0.0 Ok"))
    stage.sink.script.on("rcpt", Say("550 5.1.1 No such user"), only=RECIPIENTS[Kind.REFUSED])


def _books(order: Order, stage: Rig, ledger: Ledger, nemesis: Nemesis) -> Findings:
    """Waits until all is quiet, reads every email, stops everything cleanly, and judges."""
    scenario = order.scenario
    balanced = _wait_until_quiet(stage, scenario.patience)
    quick = not scenario.with_broker or aftermath.is_quick_again(
        stage, ledger, order.name, relay_seconds=scenario.relay_seconds
    )
    balanced = balanced and _wait_until_quiet(stage, scenario.patience)
    emails = _listed(stage)
    timelines = {i: _timeline(stage, i) for i, email in emails.items() if email["attempts"] > 1}
    codes = stage.posts.stop()
    findings = checker.judge(
        Evidence(
            scenario=scenario,
            ledger=ledger,
            received=list(stage.sink.received),
            emails=emails,
            timelines=timelines,
            struck=stage.struck,
            windows=nemesis.windows,
        )
    )
    findings.violations += [] if balanced else [f"still under way after {scenario.patience} s"]
    findings.violations += [] if quick else ["wake-ups do not reach workers after the faults"]
    findings.object_to("the relay objected", set(stage.sink.violations))
    findings.object_to("processes that did not end well", (f"{log}: {code}" for log, code in codes.items()))
    left = aftermath.left_behind({member.process.pid for member in stage.fleet.members})
    findings.object_to("processes left behind", left)
    findings.object_to("faults that failed", nemesis.failures)
    findings.object_to("faults of our own", (line for m in stage.fleet.members for line in _own_faults(m.log)))
    return findings


def _wait_until_quiet(stage: Rig, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        counts = stage.fleet.store.counts()
        if not any(counts.get(status, 0) for status in UNDER_WAY):
            return True
        time.sleep(0.2)
    return False


def _listed(stage: Rig) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    query = {"limit": "100"}
    while True:
        page: Any = stage.request("/emails", **query)
        found |= {email["id"]: email for email in page["data"]}
        if not page["has_more"]:
            return found
        query["after"] = page["data"][-1]["id"]


def _timeline(stage: Rig, email_id: str) -> list[Mapping[str, Any]]:
    events: Any = stage.request(f"/emails/{email_id}/events")
    return list(events["data"])


def _own_faults(log: str) -> list[str]:
    """What only a mistake of ours can make a process say."""
    return [line for line in log.splitlines() if "unexpected error" in line or "Unrecoverable error" in line]
