"""How the intake makes groups of what waits, and what becomes of a group with trouble in it."""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import pytest

from postroom.errors import KeyBusy, StoreUnavailable
from postroom.intake import MOST_BYTES_IN_A_GROUP, Intake, Result
from postroom.mail.email import Lane
from postroom.queue.publisher import Publisher
from postroom.store.base import Added, Store, Submission
from tests import make

THIRD = MOST_BYTES_IN_A_GROUP // 3 + 1  # or a little more
UNSTORABLE = "not to be stored"  # an answer to know such a submission by


class Noting:
    """A store and a publisher that note how many submissions come together, and what is published."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.published: list[str] = []

    def clock(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def add(self, submissions: Sequence[Submission], **_: object) -> list[Added]:
        self.groups.append(len(submissions))
        return [Added(answer=one.answer, replayed=False) for one in submissions]

    def publish(self, wake_ups: Iterable[tuple[Lane, str]]) -> None:
        self.published += [email_id for _, email_id in wake_ups]


class Choosy(Noting):
    """One that raises its error for every group with a submission in it that it cannot store."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def add(self, submissions: Sequence[Submission], **more: object) -> list[Added]:
        answers = super().add(submissions, **more)
        if any(one.answer == UNSTORABLE for one in submissions):
            raise self.error
        return answers


class Timeless(Noting):
    """One that cannot tell the time."""

    def clock(self) -> datetime:
        raise StoreUnavailable("away")


def intake_of(noting: Noting) -> Intake:
    return Intake(
        store=cast(Store, noting),
        publisher=cast(Publisher, noting),
        linger=timedelta(0),
        wake_up_after=timedelta(seconds=1),
    )


def answered(noting: Noting, *submissions: Submission) -> list[Result]:
    """The answers, when all these wait at once, in the order in which they wait."""
    answers: dict[int, Result] = {}
    intake = intake_of(noting)
    for place, one in enumerate(submissions):
        intake.submit(one, partial(answers.__setitem__, place))
    intake.start()
    intake.close()
    return [answers[place] for place in range(len(submissions))]


def groups(*submissions: Submission) -> list[int]:
    """The sizes of the groups, when all these wait at once; each is answered."""
    noting = Noting()
    answered(noting, *submissions)
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


def test_submission_that_cannot_be_stored_does_not_take_its_neighbours_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    choosy = Choosy(ValueError("of the test"))
    good = [make.submission(answer=str(serial)) for serial in range(3)]
    bad = make.submission(answer=UNSTORABLE)
    with caplog.at_level(logging.ERROR):
        told = answered(choosy, good[0], bad, good[1], good[2])
    first, second, third = (Added(answer=one.answer, replayed=False) for one in good)
    assert told == [first, choosy.error, second, third]
    assert choosy.published == [one.emails[0].id for one in good]
    assert [record.getMessage() for record in caplog.records] == ["unexpected error"]


def test_group_that_a_store_in_trouble_refuses_is_not_tried_one_by_one() -> None:
    choosy = Choosy(StoreUnavailable("away"))
    told = answered(choosy, make.submission(), make.submission(answer=UNSTORABLE), make.submission())
    assert told == [choosy.error] * 3
    assert choosy.groups == [3]


def test_busy_key_refuses_only_the_submissions_with_it(caplog: pytest.LogCaptureFixture) -> None:
    choosy = Choosy(KeyBusy("used by others"))
    expires_at = choosy.clock() + make.HOUR
    busy, quiet = (make.idempotency_key(expires_at, key=name) for name in ("busy", "quiet"))
    good = [make.submission(answer=str(serial), key=quiet if serial == 1 else None) for serial in range(4)]
    bad = [make.submission(answer=UNSTORABLE, key=busy) for _ in range(2)]
    with caplog.at_level(logging.ERROR):
        told = answered(choosy, good[0], bad[0], good[1], bad[1], *good[2:])
    first, *others = (Added(answer=one.answer, replayed=False) for one in good)
    assert told == [first, choosy.error, others[0], choosy.error, *others[1:]]
    assert sorted(choosy.published) == sorted(one.emails[0].id for one in good)
    assert choosy.groups == [6, 3, 2, 1]  # each key is waited for once, and those without one share a write
    assert [(record.getMessage(), vars(record)["count"]) for record in caplog.records] == [("store unavailable", 2)]


def test_store_that_cannot_tell_the_time_is_an_answer() -> None:
    answers: list[Result] = []
    intake = intake_of(Timeless())
    intake.start()
    for _ in range(2):
        intake.submit(make.submission(make.email()), answers.append)
    intake.close()
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2


def test_intake_that_was_never_started_can_be_closed() -> None:
    parts = Noting()
    intake = Intake(
        store=cast(Store, parts),
        publisher=cast(Publisher, parts),
        linger=timedelta(0),
        wake_up_after=timedelta(seconds=15),
    )
    intake.close()
    assert not intake.alive
