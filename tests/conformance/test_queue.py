"""What every queue promises."""

import pytest

from postroom.errors import QueueUnavailable
from postroom.mail.email import Lane
from tests.conformance.conftest import QueueAndTaker


def test_wake_up_arrives_as_it_was_published(queue_and_taker: QueueAndTaker) -> None:
    queue_and_taker.queue.publish(["a", "b"], Lane.NORMAL)
    assert queue_and_taker.take() == (Lane.NORMAL, ["a", "b"])


def test_each_wake_up_goes_to_one_taker(queue_and_taker: QueueAndTaker) -> None:
    queue_and_taker.queue.publish(["a"], Lane.BULK)
    assert queue_and_taker.take() == (Lane.BULK, ["a"])
    assert queue_and_taker.take() is None


def test_wake_ups_of_one_lane_keep_their_order(queue_and_taker: QueueAndTaker) -> None:
    for email_id in "abc":
        queue_and_taker.queue.publish([email_id], Lane.NORMAL)
    assert [queue_and_taker.take() for _ in "abc"] == [(Lane.NORMAL, [email_id]) for email_id in "abc"]


def test_ids_may_come_in_any_sequence(queue_and_taker: QueueAndTaker) -> None:
    queue_and_taker.queue.publish(("a", "b"), Lane.URGENT)
    assert queue_and_taker.take() == (Lane.URGENT, ["a", "b"])


def test_depth_counts_wake_ups_not_emails(queue_and_taker: QueueAndTaker) -> None:
    assert queue_and_taker.queue.depth() == 0
    queue_and_taker.queue.publish(["a", "b", "c"], Lane.NORMAL)
    queue_and_taker.queue.publish(["d"], Lane.BULK)
    assert queue_and_taker.queue.depth() == 2
    assert queue_and_taker.queue.dead_letters() == 0


def test_open_queue_answers_a_ping(queue_and_taker: QueueAndTaker) -> None:
    queue_and_taker.queue.ping()


def test_closed_queue_is_unavailable_and_may_be_closed_again(queue_and_taker: QueueAndTaker) -> None:
    queue_and_taker.queue.close()
    queue_and_taker.queue.close()
    with pytest.raises(QueueUnavailable):
        queue_and_taker.queue.publish(["a"], Lane.NORMAL)
    with pytest.raises(QueueUnavailable):
        queue_and_taker.queue.depth()
    with pytest.raises(QueueUnavailable):
        queue_and_taker.queue.ping()
