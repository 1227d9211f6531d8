"""What Postroom counts while it works, for Prometheus, in memory that all processes of one command share.

Stores and transports are counted by wrappers beside them (`store.counted`, `transport.counted`), requests by the API;
`exposition` shows the numbers. Values of labels are ours, never a client's.
"""

import mmap
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus

from postroom.mail.email import Lane, Status
from postroom.mail.outcome import Verdict

_BYTES = 8  # of a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Numbers of one name, one for each of `series`, the values of its labels. With `bounds` each is a histogram of
    seconds: how many took at most so long."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ((),)
    bounds: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers one of the series takes: one; or one for each bound, one beyond the last, and the sum."""
        return len(self.bounds) + 2 if self.bounds else 1


def _each(values: type[StrEnum]) -> tuple[tuple[str, ...], ...]:
    """One label, with each of these values."""
    return tuple((value.value,) for value in values)


REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
ATTEMPT_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
SENDING_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)

REQUESTS = Family(
    name="http_requests",
    text="Requests that were answered, by endpoint and status code.",
    labels=("method", "handler", "status"),
)
REQUEST_SECONDS = Family(
    name="http_request_duration_seconds",
    text="From the arrival of the request's head until its answer was ready, its body's arrival included.",
    labels=("method", "handler"),
    bounds=REQUEST_BOUNDS,
)
ACCEPTED = Family(
    name="postroom_emails_accepted",
    text="Emails accepted and durably stored, by lane; a repeated submission is not counted again.",
    labels=("lane",),
    series=_each(Lane),
)
OUTCOMES = Family(
    name="postroom_outcomes",
    text="Outcomes of attempts, one for each recipient, by verdict.",
    labels=("verdict",),
    series=_each(Verdict),
)
ATTEMPT_SECONDS = Family(
    name="postroom_attempt_duration_seconds",
    text="How long attempts took, a wait for a connection to the relay included, until the relay's last reply.",
    bounds=ATTEMPT_BOUNDS,
)
SETTLED = Family(
    name="postroom_emails_settled",
    text="Settled attempts, by the status that they left the email in.",
    labels=("status",),
    series=_each(Status),
)
SENT_AFTER = Family(
    name="postroom_sent_after_seconds",
    text="Time from acceptance, or from the scheduled time, until an email was sent.",
    bounds=SENDING_BOUNDS,
)
RECOVERED = Family(name="postroom_claims_recovered", text="Claims that lapsed because their worker crashed or froze.")
EXPIRED = Family(name="postroom_emails_expired", text="Emails that failed because their deadline passed.")
PRUNED = Family(name="postroom_emails_pruned", text="Finished emails that were deleted after their retention.")

OF_API = (ACCEPTED,)
OF_WORKER = (OUTCOMES, ATTEMPT_SECONDS, SETTLED, SENT_AFTER)
OF_SWEEP = (RECOVERED, EXPIRED, PRUNED)


def of_requests(endpoints: Sequence[tuple[str, str]]) -> tuple[Family, Family]:
    """The families of requests, for these endpoints: method and path."""
    statuses = [str(status.value) for status in HTTPStatus]
    return (
        replace(REQUESTS, series=tuple((*endpoint, status) for endpoint in endpoints for status in statuses)),
        replace(REQUEST_SECONDS, series=tuple(endpoints)),
    )


class Numbers:
    """Numbers that only grow. Each process that is forked after this was made counts in a row of its own, which
    outlives it; reading adds the rows up. What is in no family is not counted."""

    def __init__(self, families: Sequence[Family], *, rows: int = 1) -> None:
        self._families = families
        self._places: dict[tuple[str, tuple[str, ...]], int] = {}
        self._row_width = 0
        for family in families:
            for values in family.series:
                self._places[family.name, values] = self._row_width
                self._row_width += family.width
        self._rows = rows
        self._numbers = memoryview(mmap.mmap(-1, rows * self._row_width * _BYTES)).cast("d")
        self._row_start = 0
        self._lock = threading.Lock()  # of threads; no two processes have one row

    def use_row(self, row: int) -> None:
        """Counts in this row from now on; for the one process that takes the place of whoever had it before."""
        self._row_start = row % self._rows * self._row_width

    def add(self, family: Family, *values: str, count: int = 1) -> None:
        """Counts so many more."""
        place = self._places.get((family.name, values))
        if place is not None and count:
            with self._lock:
                self._numbers[self._row_start + place] += count

    def observe(self, family: Family, *values: str, seconds: float) -> None:
        """Counts one that took so long."""
        place = self._places.get((family.name, values))
        if place is not None:
            start = self._row_start + place
            with self._lock:
                self._numbers[start + bisect_left(family.bounds, seconds)] += 1
                self._numbers[start + family.width - 1] += seconds

    def read(self) -> Iterator[tuple[Family, Mapping[tuple[str, ...], Sequence[float]]]]:
        """Each family, with its numbers by the values of its labels."""
        starts = [row * self._row_width for row in range(self._rows)]
        for family in self._families:
            found: dict[tuple[str, ...], Sequence[float]] = {}
            for values in family.series:
                place = self._places[family.name, values]
                places = range(place, place + family.width)
                found[values] = [sum(self._numbers[start + at] for start in starts) for at in places]
            yield family, found
