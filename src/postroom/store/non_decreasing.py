"""The time that a store's clock gives out: in whole milliseconds, as every store keeps it, and never an earlier one."""

import logging
import os
import threading
from datetime import datetime
from typing import NamedTuple

from postroom.mail import milliseconds

log = logging.getLogger(__name__)

_WORTH_TELLING = 1000  # milliseconds


class _Given(NamedTuple):
    """A time that was given out: in milliseconds since 1970 and as such, and when, in monotonic seconds."""

    ms: int
    time: datetime
    at: float


class NonDecreasingTime:
    """What one clock has given out. Safe for threads and forks.

    A clock that was set back is not followed back, nor waited for, or whatever waits for a time would wait as long:
    until it has caught up, time goes on at half its pace. That it was is logged once.
    """

    def __init__(self) -> None:
        self._latest = _given(0, 0.0)
        self._told = False  # that this time is ahead
        self._gate = threading.Lock()
        self._pid = os.getpid()

    def at(self, seconds: float, *, monotonic: float) -> datetime:
        """UTC so many seconds after 1970; if the latest time given out is later, that one and half of what has passed
        since. `monotonic` is the time by a clock that nobody sets."""
        ms = _milliseconds(seconds)
        latest = self._latest
        if ms != latest.ms:  # else it is there already: under load most are
            latest = self._advance(ms, monotonic)
        return latest.time

    def _advance(self, ms: int, monotonic: float) -> _Given:
        if self._pid != os.getpid():  # a thread of the parent may have held the lock at the moment of the fork
            self._gate, self._pid = threading.Lock(), os.getpid()
        with self._gate:
            latest = self._latest
            passed = int((monotonic - latest.at) * 500)
            if ms > latest.ms + passed:
                self._latest = _given(ms, monotonic)
                self._told = False
            elif passed > 0:
                self._latest = _given(latest.ms + passed, latest.at + passed / 500)
            latest = self._latest
            tell = latest.ms - ms >= _WORTH_TELLING and not self._told
            self._told |= tell
        if tell:
            log.warning("clock set back", extra={"seconds": (latest.ms - ms) / 1000})
        return latest


def in_milliseconds(seconds: float) -> datetime:
    """UTC so many seconds after 1970, in whole milliseconds."""
    return milliseconds.to_time(_milliseconds(seconds))


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1_000_000) // 1000


def _given(ms: int, monotonic: float) -> _Given:
    return _Given(ms, milliseconds.to_time(ms), monotonic)
