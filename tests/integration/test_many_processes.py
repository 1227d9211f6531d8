"""`serve`, `worker` and `sweep` as their own processes around one store and one broker."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postroom.mail.email import Status
from tests.fleet import Fleet
from tests.served import Api
from tests.servers import free_port, is_free
from tests.servers.rabbitmq import RabbitMQ


@pytest.fixture
def fleet(rabbitmq: RabbitMQ, empty_redis: Callable[[], str], tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose relay takes no time."""
    instant = {"relay_url": "simulated://", "simulated_min_seconds": "0", "simulated_max_seconds": "0"}
    quick = {"poll_seconds": "3600", "sweep_seconds": "0.2", "wake_up_seconds": "2"}
    port = str(free_port())
    made = Fleet(tmp_path, broker_url=rabbitmq.url, store_url=empty_redis(), port=port, **quick, **instant)
    yield made
    made.close()


def test_submitted_email_is_delivered_by_a_worker(fleet: Fleet) -> None:
    api = Api(fleet)
    fleet.worker()
    ids = [api.submit() for _ in range(10)]
    fleet.wait_for_sent(10)
    assert all(fleet.status(email_id) is Status.SENT for email_id in ids)
    assert api.process.stop() == 0


def test_machines_are_told_events_and_nothing_else(fleet: Fleet) -> None:
    machine = {"POSTROOM_LOG_FORMAT": "json", "PYTHONWARNINGS": "ignore"}  # Celery warns who runs it as root
    fleet.variables |= machine
    members = [fleet.worker(), fleet.start("postroom", "sweep"), Api(fleet).process]
    fleet.wait(lambda: all("started" in member.log for member in members[1:]), "they have started", *members)
    for member in members:
        assert all(json.loads(line)["event"] for line in member.log.splitlines())


def test_api_process_that_dies_is_replaced(fleet: Fleet) -> None:
    api = Api(fleet)
    before = api.process.children()
    os.kill(before[0], signal.SIGKILL)
    fleet.wait(lambda: len(set(api.process.children()) - set(before)) == 1, "another took its place", api.process)
    fleet.wait(api.answers, "the API answers", api.process)
    api.submit()
    assert api.process.stop(group=True) == 0


def test_api_processes_end_and_free_the_port_when_their_parent_is_killed(fleet: Fleet) -> None:
    api = Api(fleet)
    api.process.kill()
    fleet.wait(lambda: is_free(int(fleet.variables["POSTROOM_PORT"])), "nobody listens", seconds=20)


def test_sweeps_publish_what_was_never_published(fleet: Fleet) -> None:
    fleet.worker()
    sweeps = [fleet.start("postroom", "sweep") for _ in range(2)]
    fleet.submit(250, publish=False)  # as if the API had died between storing and publishing
    fleet.wait_for_sent(250)
    assert [sweep.stop() for sweep in sweeps] == [0, 0]


def test_sweep_waits_for_the_broker(fleet: Fleet, rabbitmq: RabbitMQ) -> None:
    rabbitmq.kill()
    sweep = fleet.start("postroom", "sweep")
    fleet.submit(10, publish=False)
    fleet.wait(lambda: "wake-up not published" in sweep.log, "the sweep has noticed", sweep)
    rabbitmq.start()
    fleet.worker()
    fleet.wait_for_sent(10)
    assert "Traceback" not in sweep.log


def test_rebuilt_queue_holds_everything_due(fleet: Fleet) -> None:
    fleet.submit(150)
    fleet.submit(50, publish=False)
    told = fleet.run("rebuild-queue", "--json")
    assert json.loads(told.stdout) == {"published": 200}, told.stderr
    assert fleet.queue.depth() == 2 + 2


def test_rebuild_without_a_broker_says_so(fleet: Fleet) -> None:
    told = fleet.run("rebuild-queue", CELERY_BROKER_URL="amqp://guest:sesame@127.0.0.1:1//")
    assert told.returncode == 1
    assert re.fullmatch(r"postroom: the broker at \S+ \(CELERY_BROKER_URL\) cannot be reached .*\n", told.stderr)


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("POSTROOM_STORE_URL", "mongodb://ann:sesame@now@host/"),
        ("POSTROOM_STORE_URL", "mongodb://ann:sesame@host/?tls=true&tlsCAFile=no-such-file"),
        ("POSTROOM_STORE_URL", "rediss://ann:sesame@host/?ssl_ca_certs=no-such-file"),
        ("POSTROOM_STORE_URL", "redis://:sesame@host/emails"),
        ("CELERY_RESULT_BACKEND", "redis://:sesame@host/results"),
        ("POSTROOM_RELAY_URL", "smtp://ann:sesame@host:many"),
        ("POSTROOM_RELAY_CA_FILE", "no-such-file"),
    ],
)
def test_unusable_url_or_file_is_refused_at_the_start(fleet: Fleet, command: str, setting: str, url: str) -> None:
    told = fleet.run(command, **{"POSTROOM_PORT": "0", "POSTROOM_RELAY_URL": "smtps://host", setting: url})
    assert told.returncode == 2
    assert told.stderr.startswith(f"postroom: {setting}: ")
    assert len(told.stderr.splitlines()) == 1
    assert "sesame" not in told.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "sweep", "rebuild-queue"])
def test_sqlite_is_refused_where_many_processes_share(fleet: Fleet, command: str, tmp_path: Path) -> None:
    told = fleet.run(command, POSTROOM_STORE_URL=f"sqlite:///{tmp_path}/store.sqlite3")
    assert told.returncode == 2
    assert "`postroom run`" in told.stderr
    assert len(told.stderr.splitlines()) == 1
