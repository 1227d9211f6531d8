"""The bench's own arithmetic and bookkeeping: what its tables rest on."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import report, scaling, stats, targets, work
from bench.run import Row
from bench.sink import MESSAGE_ID, Ledger
from bench.summary import summarise
from bench.work import Target


def _message(name: str, header: str = "Subject") -> bytes:
    return f"From bench\nX-Client-Addr: 127.0.0.1\nFrom: <a@b.c>\n{header}: {name}\n\nText\n\n".encode()


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_percentile_is_the_smallest_value_that_so_many_do_not_exceed(share: float, expected: float) -> None:
    assert stats.percentile(list(range(100, 0, -1)), share) == expected


def test_unknown_values_take_no_part_in_a_median() -> None:
    assert stats.median([3.0, math.nan, 1.0, 2.0]) == 2.0
    assert math.isnan(stats.median([math.nan]))
    assert math.isnan(stats.percentile([], 0.5))


def test_ratio_to_nothing_is_unknown() -> None:
    assert stats.ratio(6, 2) == 3
    assert math.isnan(stats.ratio(6, 0))


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_ledger_counts_each_message_once_however_the_file_grows(tmp_path: Path, step: int) -> None:
    file = tmp_path / "messages"
    ledger = Ledger(file)
    assert ledger.read() == 0
    whole = b"".join(_message(name) for name in ("bench-1", "bench-2", "bench-10", "bench-2"))
    with file.open("ab", buffering=0) as growing:
        for start in range(0, len(whole), step):
            growing.write(whole[start : start + step])
            ledger.read()
    assert ledger.count == 4
    assert ledger.names == {b"bench-1", b"bench-2", b"bench-10"}


def test_ledger_counts_by_the_header_that_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "messages"
    file.write_bytes(_message("<1@x>", "Message-Id") + _message("<2@x>", "Message-Id"))
    assert Ledger(file, MESSAGE_ID).read() == 2
    assert Ledger(file).read() == 0


def test_all_emails_of_a_run_are_distinct_and_a_kilobyte() -> None:
    target = Target(port=1, token="pr_x")
    requests = list(work.submissions(target, "run", range(100, 150)))
    bodies = [request.partition(b"\r\n\r\n")[2] for request in requests]
    assert len({json.loads(body)["subject"] for body in bodies}) == 50
    assert all(b"Idempotency-Key: run-" in request for request in requests)
    assert all(1000 <= len(body) <= 1200 for body in bodies)


def test_batches_hold_every_email_once() -> None:
    requests = list(work.submissions(Target(port=1), "run", range(100, 350), batch=100))
    emails = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in requests]
    assert [len(batch) for batch in emails] == [100, 100, 50]
    assert [one["subject"] for batch in emails for one in batch] == [f"bench-run-{n}" for n in range(100, 350)]
    assert not any(b"Idempotency-Key" in request for request in requests)


def test_ids_are_read_from_one_answer_and_from_a_batch() -> None:
    assert work.ids_of(b'{"id": "1"}') == ["1"]
    assert work.ids_of(b'{"data": [{"id": "1"}, {"id": "2"}]}') == ["1", "2"]


def _row(system: str, batch: int = 1, **more: Any) -> Row:
    figures = {"n": 1000, "submit_rate": 100.0, "p50_ms": 1.0, "p99_ms": 10.0, "end_to_end_rate": 100.0}
    figures |= {"status_rate": 100.0, "foreign": 0.1, "cpu": {"api": 2.0, "workers": 3.0, "sink": 9.0, "client": 9.0}}
    return Row(system=system, batch=batch, **figures | more)


def test_summary_takes_medians_of_passed_runs_and_leaves_sink_and_client_out() -> None:
    rates = (90.0, 300.0, 110.0)
    rows = [_row("mongo", end_to_end_rate=rate, cpu={"api": rate / 100, "sink": 9.0}) for rate in rates]
    (summary,) = summarise([*rows, _row("mongo", end_to_end_rate=5.0, failure="lost one")])
    assert (summary.end_to_end_rate, summary.slowest, summary.fastest) == (110.0, 90.0, 300.0)
    assert summary.cpu_system == pytest.approx(1.1)
    assert summary.cpu["sink"] == 9.0
    assert (summary.passed, summary.failures) == (3, ("lost one",))


def test_cpu_is_for_a_thousand_emails() -> None:
    (summary,) = summarise([_row("mongo", n=4000)])
    assert summary.cpu_system == pytest.approx(1.25)


def test_targets_compare_with_the_right_system_and_the_right_way_round() -> None:
    rows = [
        _row("naive"),
        _row("mongo", end_to_end_rate=900.0, p99_ms=2.0, cpu={"api": 0.4}),
        _row("mongo", 100, end_to_end_rate=1300.0, cpu={"api": 0.3}),
    ]
    summaries = {s.label: s for s in summarise(rows)}
    verdicts = {
        (t.measure, t.base): (t.reached(summaries, 100), t.met(t.reached(summaries, 100)))
        for t in targets.TARGETS
        if t.ours[0] == "mongo"
    }
    assert verdicts["end to end, one by one", "naive"] == (9.0, True)
    assert verdicts["end to end, batches", "naive"] == (13.0, False)
    assert verdicts["submit p99, one by one", "naive"] == (0.2, True)
    assert verdicts["CPU per email, one by one", "naive"] == (pytest.approx(0.08), True)
    assert verdicts["CPU per email, batches", "naive"] == (pytest.approx(0.06), False)
    reached, met = verdicts["end to end, one by one", "postfix"]
    assert math.isnan(reached)
    assert not met


def test_cores_follow_from_cpu_time_and_utilisation() -> None:
    (summary,) = summarise([_row("mongo", cpu={"api": 0.3, "workers": 0.6})])
    assert scaling.cores(summary, "workers", 2000) == pytest.approx(2.0)


def test_report_replaces_its_sections_and_nothing_else() -> None:
    page = "Prose.\n<!-- bench:a -->\nold\n<!-- /bench -->\nMore.\n<!-- bench:b -->\nkept\n<!-- /bench -->\n"
    expected = page.replace("old", "new")
    assert report.written(page, {"a": "new\n", "c": "unused\n"}) == expected


def test_report_says_what_was_measured_and_what_failed() -> None:
    rows = [_row("naive"), _row("mongo", 100, end_to_end_rate=1234.0), _row("mongo", 100, failure="lost one")]
    options = {"batch": 100, "api_processes": 1, "workers": 1, "children": 1, "batch_children": 2}
    facts = {"machine": "m", "python": "3", "servers": {"Redis": "7"}, "packages": {"celery": "5"}}
    content = {"rows": [asdict(row) for row in rows], "facts": facts}
    content["options"] = options | {"relay_connections": 40, "connections": 32, "batch_connections": 4, "rounds": 1}
    texts = report.sections({"compare": content})
    assert "| mongo x100 " in texts["rates"]
    assert "1,234" in texts["rates"]
    assert "1/2 |" in texts["rates"]
    assert "Disturbed" not in texts["rates"]
    for row in content["rows"]:
        row["foreign"] = 0.4
    assert "used 40%" in report.sections({"compare": content})["rates"]
    ElementTree.fromstring(report.plot(summarise(rows)))
