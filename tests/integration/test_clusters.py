"""Three RabbitMQ nodes and three MongoDB members: one of each dies, and nothing is lost or doubled."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.errors import StoreError
from postroom.mail.email import Lane, Status
from tests.fleet import DEADLINE_SECONDS, QUICK, Fleet, received
from tests.servers import clusters
from tests.servers.clusters import RabbitMQCluster, ReplicaSet
from tests.smtpd import Smtpd

GROUP = 60


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[RabbitMQCluster]:
    """The brokers."""
    (tmp_path / "rabbitmq").mkdir()
    with clusters.rabbitmq_cluster(tmp_path / "rabbitmq") as cluster:
        yield cluster


@pytest.fixture
def members(tmp_path: Path) -> Iterator[ReplicaSet]:
    """The stores, which elect sooner than they would elsewhere."""
    (tmp_path / "mongodb").mkdir()
    with clusters.replica_set(tmp_path / "mongodb", election_ms=2000) as replica_set:
        yield replica_set


@pytest.fixture
def fleet(nodes: RabbitMQCluster, members: ReplicaSet, relay: Smtpd, tmp_path: Path) -> Iterator[Fleet]:
    """Two workers and a sweep around them."""
    urls = {"store_url": members.url(), "broker_url": nodes.url, "relay_url": relay.url}
    made = Fleet(tmp_path, relay_connections="5", **urls, **QUICK)
    try:
        yield made
    finally:
        made.close()


def submitted(fleet: Fleet) -> list[str]:
    """The ids of emails that the store has accepted, however often it had to be asked. A sweep publishes them."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return fleet.submit(GROUP, publish=False)
        except StoreError:
            assert time.monotonic() < deadline, "the store has not come back"
            time.sleep(0.1)


def consumers(nodes: RabbitMQCluster) -> int:
    """How many workers listen to that queue over nodes that are left; its own count has those of dead nodes, too."""
    left = {node.name: node for node in nodes.nodes if node.running}
    listed = next(iter(left.values())).call("GET", "consumers").json()
    channels = [one["channel_details"] for one in listed if one["queue"]["name"] == f"postroom.{Lane.NORMAL}"]
    return sum(1 for channel in channels if channel and channel["node"] in left)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_loss_of_a_node_of_each_loses_and_doubles_nothing(
    fleet: Fleet, nodes: RabbitMQCluster, members: ReplicaSet, relay: Smtpd
) -> None:
    ids = submitted(fleet)
    workers = [fleet.worker() for _ in range(2)]
    fleet.start("postroom", "sweep")
    fleet.wait_for_sent(GROUP)

    ids += submitted(fleet)
    nodes.kill()
    fleet.wait(lambda: consumers(nodes) == len(workers), "both consume again")
    fleet.wait_for_sent(2 * GROUP)

    ids += submitted(fleet)
    members.kill()
    ids += submitted(fleet)
    fleet.wait(lambda: _all_sent(fleet, ids), "all are sent")

    took = received(relay)
    assert {email_id: took[email_id] for email_id in ids} == dict.fromkeys(ids, 1)
    assert [worker.stop() for worker in workers] == [0, 0]


def _all_sent(fleet: Fleet, ids: list[str]) -> bool:
    """Counting would not do: a submission whose outcome stayed unknown may have been stored as well."""
    try:
        return all(fleet.status(email_id) is Status.SENT for email_id in ids)
    except StoreError:
        return False
