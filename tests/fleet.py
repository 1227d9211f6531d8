"""A distributed Postroom: workers and sweeps as processes of their own, around one store and one broker."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection, Exchange, Producer

from postroom import settings, wiring
from postroom.errors import StoreError
from postroom.mail.email import Address, Email, Kind, Lane, Life, Recipient, Status
from postroom.queue.publisher import publish_chunks
from postroom.store.base import Submission
from tests.sending import subject
from tests.servers.rabbitmq import RabbitMQ
from tests.smtpd import Smtpd

DEADLINE_SECONDS = 60.0
ACCOUNT = "default"


class Member:
    """One process of the fleet, with its log; the leader of its process group."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        name = "-".join(word for word in command if word.isalpha())
        self.log_file = folder / f"{name}-{uuid.uuid4().hex[:6]}.log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command], env=environment, cwd=folder, stdout=log, stderr=log, process_group=0
            )

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self.log_file.read_text(errors="replace")

    def children(self) -> list[int]:
        """The processes that it has forked and that run."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in listed]

    def kill(self) -> None:
        """kill -9 of it alone."""
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)

    def stop(self, *, group: bool = False) -> int:
        """SIGTERM to it alone, or to its whole group; returns the exit code."""
        if group:
            os.killpg(self.process.pid, signal.SIGTERM)
        else:
            self.process.terminate()
        return self.process.wait(DEADLINE_SECONDS)


class Fleet:
    """The processes, and the test's own hands on store and queue. Close it."""

    def __init__(self, folder: Path, *, store_url: str, broker_url: str, **more: str) -> None:
        self._folder = folder
        ours = {"store_url": store_url, "worker_processes": "2", **more}
        self.variables = {f"POSTROOM_{name.upper()}": value for name, value in ours.items() if "celery" not in name}
        self.variables |= {name.upper(): value for name, value in ours.items() if "celery" in name}
        self.variables["CELERY_BROKER_URL"] = broker_url
        self._settings = settings.load(self.variables)
        self.store = wiring.open_store(self._settings)
        self.queue = wiring.open_queue(self._settings)
        self.members: list[Member] = []

    def close(self) -> None:
        """Kills what still runs."""
        for member in self.members:
            if member.process.poll() is None:
                os.killpg(member.process.pid, signal.SIGKILL)
                member.process.wait(DEADLINE_SECONDS)
        self.queue.close()
        self.store.close()

    def start(self, *command: str, **variables: str) -> Member:
        """Starts a member, such as `start("postroom", "sweep")`; `variables` are added to its environment."""
        self.members.append(Member([*command], self._folder, self._environment(variables)))
        return self.members[-1]

    def run(self, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command of the product to its end."""
        environment = self._environment(variables)
        called = [sys.executable, "-m", "postroom", *command]
        return subprocess.run(called, env=environment, capture_output=True, text=True, timeout=DEADLINE_SECONDS)

    def _counts(self) -> str:
        try:
            return str({str(status): count for status, count in self.store.counts().items() if count})
        except StoreError as error:
            return str(error)

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("POSTROOM_", "CELERY_"))}
        return inherited | self.variables | variables

    def worker(self, **variables: str) -> Member:
        """Starts a worker and returns when it consumes."""
        member = self.start("postroom", "worker", **variables)
        self.wait(lambda: " ready." in member.log, "the worker is ready", member)
        return member

    def submit(self, count: int, *, lane: Lane = Lane.NORMAL, publish: bool = True) -> list[str]:
        """Stores so many emails and publishes them; returns their ids. The subject of each is its id."""
        now = self.store.clock()
        grace = timedelta(seconds=self._settings.wake_up_seconds)
        emails = [_email(lane, now) for _ in range(count)]
        for start in range(0, count, 500):
            group = [Submission(account=ACCOUNT, emails=(e,), answer="{}") for e in emails[start : start + 500]]
            self.store.add(group, now=now, wake_up_at=now + grace)
        ids = [email.id for email in emails]
        if publish:
            published = publish_chunks([(lane, ids)], queue=self.queue, chunk_size=self._settings.chunk_size)
            assert published == count
        return ids

    def status(self, email_id: str) -> Status:
        """Where an email stands."""
        email = self.store.get(ACCOUNT, email_id)
        assert email is not None
        return email.life.status

    def count(self, status: Status) -> int:
        """How many emails stand there."""
        return self.store.counts().get(status, 0)

    def wait_for_sent(self, count: int) -> None:
        """Waits until so many emails are sent."""
        self.wait(lambda: self.count(Status.SENT) == count, f"{count} emails are sent")

    def wait(
        self, condition: Callable[[], object], what: str, *members: Member, seconds: float = DEADLINE_SECONDS
    ) -> None:
        """Polls until the condition holds; fails with `what` and the logs after the deadline."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or any(m.process.poll() is not None for m in members):
                logs = "\n".join(f"--- {m.log_file.name}\n{m.log[-4000:]}" for m in self.members)
                raise AssertionError(f"not within {seconds} s: {what}; {self._counts()}\n{logs}")
            time.sleep(0.05)


def _email(lane: Lane, now: datetime) -> Email:
    email_id = str(uuid.uuid4())
    return Email(
        id=email_id,
        account=ACCOUNT,
        message_id=f"<{email_id}@example.com>",
        created_at=now,
        sender=Address("ann@example.com"),
        to=(Address("bob@example.net"),),
        subject=email_id,
        text="Hello, Bob.",
        lane=lane,
        max_attempts=25,
        life=Life(
            status=Status.QUEUED,
            recipients=(Recipient(address="bob@example.net", kind=Kind.TO),),
            next_attempt_at=now,
            expires_at=now + timedelta(hours=72),
        ),
    )


StartFleet = Callable[..., Fleet]

# Short enough for tests: leases lapse, workers poll, sweeps publish again.
QUICK = {"lease_seconds": "3", "poll_seconds": "2", "sweep_seconds": "0.2", "wake_up_seconds": "3"}
PATIENT = {"poll_seconds": "3600"}  # nothing but wake-ups brings work


@pytest.fixture
def relay() -> Iterator[Smtpd]:
    """A scripted relay."""
    with Smtpd() as server:
        yield server


@pytest.fixture
def start_fleet(
    rabbitmq: RabbitMQ, empty_redis: Callable[[], str], relay: Smtpd, tmp_path: Path
) -> Iterator[StartFleet]:
    """Makes a fleet around that broker and relay, with Redis as its store unless told otherwise."""
    fleets: list[Fleet] = []

    def one(**more: str) -> Fleet:
        defaults = {"store_url": empty_redis(), "relay_url": relay.url, "relay_connections": "5"}
        fleets.append(Fleet(tmp_path, broker_url=rabbitmq.url, **{**defaults, **more}))
        return fleets[-1]

    yield one
    for fleet in fleets:
        fleet.close()


def received(relay: Smtpd) -> Counter[str]:
    """How often the relay took each email."""
    return Counter(subject(message.data) for message in list(relay.received))


def expect_each_once(relay: Smtpd, ids: list[str]) -> None:
    """Nothing is lost and nothing doubled."""
    assert received(relay) == Counter(ids)


def publish_task(
    connection: Connection, args: list[object], *, task: str = "postroom.deliver", **headers: object
) -> None:
    """Publishes what a wake-up of another version might look like."""
    message = Celery(set_as_current=False).amqp.as_task_v2("00000000-0000-0000-0000-000000000001", task, args)
    producer = Producer(connection, routing_key="normal", exchange=Exchange("postroom", type="direct"))
    producer.publish(message.body, serializer="json", headers=message.headers | headers, **message.properties)
