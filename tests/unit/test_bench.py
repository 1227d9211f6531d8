"""The bench's own arithmetic and bookkeeping: what its tables rest on."""

import json
import math
from pathlib import Path

import pytest

from bench import stats, work
from bench.sink import MESSAGE_ID, Ledger
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
