"""The time that a store's clock gives out: in whole milliseconds, as every store keeps it, and never an earlier one."""

import logging
import os
import threading
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORTH_TELLING = 1000  # milliseconds


class _Given(NamedTuple):
    """A time that was given out: in milliseconds since 1970 and as such, and when, in monotonic seconds."""

    milliseconds: int
    time: datetime
    at: float


class NonDecreasingTime:
    """What one clock has given out. Safe for threads and forks.

    A clock that was set back is not followed back, nor waited for, or whatever waits for a time would wait as long:
    until it has caught up, time goes on at half its pace. That it was is logged once.
    """

    def __init__(self) -> None:
        self._latest = _Given(0, _EPOCH, 0.0)
        self._told = False  # that this time is ahead
        self._gate = threading.Lock()
        self._pid = os.getpid()

    def at(self, seconds: float, *, monotonic: float) -> datetime:
        """UTC so many seconds after 1970; if the latest time given out is later, that one and half of what has passed
        since. `monotonic` is the time by a clock that nobody sets."""
        milliseconds = _milliseconds(seconds)
        latest = self._latest
        if milliseconds != latest.milliseconds:  # else it is there already: under load most are
            latest = self._advance(milliseconds, monotonic)
        return latest.time

    def _advance(self, milliseconds: int, monotonic: float) -> _Given:
        if self._pid != os.getpid():  # a thread of the parent may have held the lock at the moment of the fork
            self._gate, self._pid = threading.Lock(), os.getpid()
        with self._gate:
            latest = self._latest
            passed = int((monotonic - latest.at) * 500)
            if milliseconds > latest.milliseconds + passed:
                self._latest = _given(milliseconds, monotonic)
                self._told = False
            elif passed > 0:
                self._latest = _given(latest.milliseconds + passed, latest.at + passed / 500)
            latest = self._latest
            tell = latest.milliseconds - milliseconds >= _WORTH_TELLING and not self._told
            self._told |= tell
        if tell:
            log.warning("clock set back", extra={"seconds": (latest.milliseconds - milliseconds) / 1000})
        return latest


def in_milliseconds(seconds: float) -> datetime:
    """UTC so many seconds after 1970, in whole milliseconds."""
    return _EPOCH + timedelta(milliseconds=_milliseconds(seconds))


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1_000_000) // 1000


def _given(milliseconds: int, monotonic: float) -> _Given:
    return _Given(milliseconds, _EPOCH + timedelta(milliseconds=milliseconds), monotonic)
