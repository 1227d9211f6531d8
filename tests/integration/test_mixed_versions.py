"""A newer Postroom beside this one, on one store and one broker, as in an upgrade that goes from host to host."""

from pathlib import Path

import pytest

from postroom.mail.email import Status
from tests import next_version
from tests.fleet import QUICK, Fleet, StartFleet
from tests.served import Api
from tests.servers import free_port

STORES = {"redis": "empty_redis", "mongo": "new_mongodb_url"}
LONGEST_SECONDS = 100.0  # until an email that was put off for a minute is sent


@pytest.fixture(params=STORES)
def fleet(request: pytest.FixtureRequest, start_fleet: StartFleet) -> Fleet:
    """Members of this version, on either store; claims lapse and are looked for all the time."""
    store_url = request.getfixturevalue(STORES[request.param])()
    impatient = {**QUICK, "lease_seconds": "1", "poll_seconds": "0.5"}
    return start_fleet(store_url=store_url, port=str(free_port()), **impatient)


@pytest.mark.slow
def test_what_an_older_worker_cannot_read_is_delivered_by_a_newer_one(fleet: Fleet, tmp_path: Path) -> None:
    newer = {"PYTHONPATH": next_version.make(tmp_path)}
    older = fleet.worker()
    fleet.start("postroom", "sweep", **newer)
    api = Api(fleet, **newer)
    ids = [api.submit() for _ in range(5)]
    fleet.wait(lambda: all(f"email unreadable email_id={one}" in older.log for one in ids), "it has met all", older)
    older.stop()
    fleet.worker(**newer)
    fleet.wait(lambda: fleet.count(Status.SENT) == len(ids), "all are sent", seconds=LONGEST_SECONDS)
    for email_id in ids:
        email = api.request("GET", f"/emails/{email_id}").json()
        assert email["attempts"] == 1
        assert [event["event"] for event in email["timeline"]] == ["queued", "attempt", "sent"]
