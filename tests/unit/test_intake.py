"""How the intake makes groups of what waits."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from postroom.errors import StoreUnavailable
from postroom.intake import MOST_BYTES_IN_A_GROUP, Answer, Intake
from postroom.queue.publisher import Publisher
from postroom.store.base import Added, Store, Submission
from tests import make

THIRD = MOST_BYTES_IN_A_GROUP // 3 + 1  # or a little more


class Noting:
    """A store and a publisher that note how many submissions come together."""

    def __init__(self) -> None:
        self.groups: list[int] = []

    def clock(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def add(self, submissions: Sequence[Submission], **_: object) -> list[Added]:
        self.groups.append(len(submissions))
        return [Added(answer=one.answer, replayed=False) for one in submissions]

    def publish(self, _: object) -> None: ...


class Timeless(Noting):
    """A store that cannot tell the time."""

    def clock(self) -> datetime:
        raise StoreUnavailable("away")


def test_store_that_cannot_tell_the_time_is_an_answer() -> None:
    store, answers = Timeless(), list[Answer]()
    intake = Intake(
        store=cast(Store, store),
        publisher=cast(Publisher, store),
        linger=timedelta(0),
        wake_up_after=timedelta(seconds=1),
    )
    intake.start()
    for _ in range(2):
        intake.submit(make.submission(make.email()), answers.append)
    intake.close()
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2


def groups(*submissions: Submission) -> list[int]:
    """The sizes of the groups, when all these wait at once; each is answered."""
    noting, answers = Noting(), list[Answer]()
    intake = Intake(
        store=cast(Store, noting),
        publisher=cast(Publisher, noting),
        linger=timedelta(0),
        wake_up_after=timedelta(seconds=1),
    )
    for one in submissions:
        intake.submit(one, answers.append)
    intake.start()
    intake.close()
    assert len(answers) == len(submissions)
    return noting.groups


def of_size(**changes: Any) -> Submission:
    return make.submission(make.email(**changes))


def test_small_ones_share_a_group() -> None:
    assert groups(*(of_size() for _ in range(100))) == [100]


@pytest.mark.parametrize(
    "large",
    [{"text": "x" * THIRD}, {"html": "x" * THIRD}, {"attachments": (make.attachment(b"x", size=THIRD),)}],
    ids=["text", "html", "attachments"],
)
def test_group_is_no_larger_than_its_bytes_allow(large: dict[str, Any]) -> None:
    assert groups(of_size(), *(of_size(**large) for _ in range(5)), of_size()) == [3, 2, 2]


def test_one_that_is_too_large_for_any_group_is_alone() -> None:
    huge = of_size(text="x" * 4 * THIRD)
    assert groups(of_size(), huge, huge, of_size()) == [1, 1, 1, 1]
