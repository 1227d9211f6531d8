"""`make scale` under load."""

import time

from tests.stack import books
from tests.stack.stand import Stand, wait


def _host(worker: str) -> str:
    return worker.partition("@")[2]


def _online(stand: Stand) -> set[str]:
    return {_host(name) for name, alive in stand.flower("/api/workers?status=1").items() if alive}


def _busy(stand: Stand) -> set[str]:
    return {_host(task["worker"]) for task in stand.flower("/api/tasks?state=SUCCESS").values()}


def test_workers_come_and_go_under_load_and_nothing_else_is_disturbed(stand: Stand) -> None:
    stand.choose(mail="simulated", workers=1)
    before = stand.starts()
    with books.load(stand, rate=40) as ledger:
        books.more(ledger, 100)
        stand.make("scale", WORKERS="4")
        workers = {container["Config"]["Hostname"] for container in stand.containers("worker")}
        assert len(workers) == 4
        wait(lambda: workers <= _online(stand), "Flower shows all four")
        wait(lambda: workers <= _busy(stand), "each of the four has taken chunks")
        assert before.items() <= stand.starts().items()

        began = time.monotonic()
        stand.make("scale", WORKERS="1")
        assert time.monotonic() - began < 120
        assert stand.starts() == before
        books.more(ledger, 100)
    assert {asked.code for asked in ledger.submissions} == {200}
    emails = books.expect_sent(stand, ledger)
    assert not [email_id for email_id, email in emails.items() if email["possible_duplicate"]]
    for email_id in (email_id for email_id, email in emails.items() if email["attempts"] > 1):
        events = stand.email(email_id)["timeline"]
        assert len([event for event in events if event["detail"].get("accepted")]) == 1, "sent twice"
    assert all(container["RestartCount"] == 0 for container in stand.containers())


def test_scale_without_a_number_attaches_one_more_and_the_next_start_keeps_them(stand: Stand) -> None:
    stand.choose(workers=1)
    stand.make("scale")
    assert len(stand.containers("worker")) == 2
    before = stand.starts()
    stand.make("start")
    assert stand.starts() == before
    assert "not a number" in stand.try_make("scale", WORKERS="many").stderr
