"""All of a distributed Postroom while its broker or its store is away, refuses it or is unfit: each process says what
is wrong in one sentence and carries on, nothing is lost, and nothing must be restarted when the trouble is over."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kombu import Connection, Exchange, Queue

from postroom.mail import api_key
from postroom.queue.celery import CeleryQueue
from tests.fleet import QUICK, Fleet, Member, publish_task
from tests.served import Api, make_key
from tests.servers import free_port, mongodb
from tests.servers.mongodb import MongoDB
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import RedisServer

INSTANT = {"relay_url": "simulated://", "simulated_min_seconds": "0", "simulated_max_seconds": "0"}
StartFleet = Callable[..., Fleet]


@pytest.fixture
def start_fleet(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[StartFleet]:
    """Makes a fleet around that broker, which can serve."""
    fleets: list[Fleet] = []

    def one(store_url: str, **more: str) -> Fleet:
        port = str(free_port())
        fleets.append(
            Fleet(tmp_path, broker_url=rabbitmq.url, store_url=store_url, port=port, **QUICK, **INSTANT, **more)
        )
        return fleets[-1]

    yield one
    for fleet in fleets:
        fleet.close()


def start_all(fleet: Fleet, key: str | None = None, **variables: str) -> tuple[Api, list[Member]]:
    """One of each command; the API's processes are the first."""
    others = [fleet.start("postroom", command, **variables) for command in ("worker", "sweep")]
    api = Api(fleet, key, **variables)
    return api, [api.process, *others]


def expect_told(fleet: Fleet, members: list[Member], sentence: str) -> None:
    """Each process says so, and nothing that it should not say."""
    for member in members:
        fleet.wait(lambda member=member: sentence in member.log, f"{member.log_file.name} says: {sentence}", *members)
        assert "Traceback" not in member.log
        assert "sesame" not in member.log


def expect_delivered(fleet: Fleet, api: Api, count: int) -> None:
    """Everything that was and is submitted now comes to its end."""
    for _ in range(3):
        api.submit()
    fleet.wait_for_sent(count + 3)


# -- the broker -----------------------------------------------------------------------------------------------------


def _refused_queue(rabbitmq: RabbitMQ) -> str:
    """The broker, after somebody made a queue of ours with other arguments."""
    with Connection(rabbitmq.url) as connection:
        Queue("postroom.bulk", Exchange("postroom", type="direct"), routing_key="bulk")(connection).declare()
    return rabbitmq.url


BROKERS: dict[str, tuple[Callable[[RabbitMQ], str], str]] = {
    "down": (lambda _: "amqp://guest:sesame@127.0.0.1:1//", ""),
    "wrong password": (lambda node: node.url.replace(":guest@", ":sesame@"), "refuses this user or password"),
    "wrong vhost": (lambda node: node.url + "x", "has no such virtual host"),
    "other arguments": (_refused_queue, "has a queue with other arguments"),
}


@pytest.mark.slow
@pytest.mark.parametrize("trouble", BROKERS)
def test_without_a_broker_everything_is_accepted_at_once_and_delivered(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, empty_redis: Callable[[], str], trouble: str
) -> None:
    broker_url, sentence = BROKERS[trouble]
    fleet = start_fleet(empty_redis())
    api, members = start_all(fleet, CELERY_BROKER_URL=broker_url(rabbitmq))
    began = time.monotonic()
    for _ in range(10):
        api.submit()
    assert time.monotonic() - began < 5
    fleet.wait_for_sent(10)
    expect_told(fleet, members, sentence or "127.0.0.1:1")
    answer = api.request("GET", "/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert [member.stop() for member in members] == [0, 0, 0]


# -- the store ------------------------------------------------------------------------------------------------------


def expect_refused(api: Api) -> None:
    """Submissions are refused in time, with a time to come back, and the API says that it cannot serve."""
    began = time.monotonic()
    answer = api.request("POST", "/emails", json={})
    assert time.monotonic() - began < 4  # promised are 3, but other processes are just starting
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert api.request("GET", "/readyz").status_code == 503


@pytest.mark.slow
def test_mongodb_that_is_down_at_the_start_is_waited_for(
    start_fleet: StartFleet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with mongodb.started(tmp_path_factory.mktemp("mongodb")) as server:
        fleet = start_fleet(server.url())
        key = make_key(fleet)
        server.kill()
        api, members = start_all(fleet, key)
        expect_refused(api)
        expect_told(fleet, members, "has no primary that can be reached")
        server.start()
        fleet.wait(lambda: api.request("GET", "/readyz").status_code == 200, "the API is ready", *members)
        expect_delivered(fleet, api, 0)


@pytest.mark.slow
def test_mongodb_without_replica_set_is_refused_until_it_is_one(
    start_fleet: StartFleet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with mongodb.started(tmp_path_factory.mktemp("mongodb"), initiated=False) as server:
        fleet = start_fleet(server.url())
        api, members = start_all(fleet, api_key.mint()[1])
        expect_refused(api)
        expect_told(fleet, members, "was never initiated: run rs.initiate() on it once")
        _initiate(server)
        fleet.wait(lambda: api.request("GET", "/readyz").status_code == 200, "the API is ready", *members)
        api.key = make_key(fleet)
        expect_delivered(fleet, api, 0)


def _initiate(server: MongoDB) -> None:
    with server.client() as client:
        member = {"_id": 0, "host": f"127.0.0.1:{server.port}"}
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})


@pytest.mark.slow
def test_redis_without_persistence_is_refused_until_it_has_some(
    start_fleet: StartFleet, start_redis: Callable[..., RedisServer]
) -> None:
    server = start_redis()
    fleet = start_fleet(server.url)
    key = make_key(fleet)
    server.ask("CONFIG", "SET", "appendonly", "no")
    api, members = start_all(fleet, key)
    expect_refused(api)
    expect_told(fleet, members, "appendonly")
    server.ask("CONFIG", "SET", "appendonly", "yes")
    fleet.wait(lambda: api.request("GET", "/readyz").status_code == 200, "the API is ready", *members)
    expect_delivered(fleet, api, 0)


# -- other versions -------------------------------------------------------------------------------------------------


def test_wake_up_of_tomorrows_version_is_set_aside_and_its_email_delivered_all_the_same(
    start_fleet: StartFleet, rabbitmq: RabbitMQ, empty_redis: Callable[[], str]
) -> None:
    fleet = start_fleet(empty_redis())
    fleet.worker()
    ids = fleet.submit(5, publish=False)
    assert isinstance(fleet.queue, CeleryQueue)
    fleet.queue.ping()
    with Connection(rabbitmq.url) as connection:
        publish_task(connection, [{"v": 2, "ids": ids, "lane": "normal", "news": True}])
    dead_letters = fleet.queue.dead_letters
    fleet.wait(lambda: dead_letters() == 1, "it is a dead letter")
    fleet.start("postroom", "sweep")
    fleet.wait_for_sent(5)
