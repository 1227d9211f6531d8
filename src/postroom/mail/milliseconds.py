"""Whole milliseconds: the precision of all our times, the form in which ids, SQLite and Redis have them."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def of(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


@lru_cache(maxsize=256)  # what is read together was written together, much of it in the same millisecond
def to_time(milliseconds: int) -> datetime:
    """The aware UTC time of these milliseconds since 1970."""
    return _EPOCH + milliseconds * _MILLISECOND


def cut(moment: datetime) -> datetime:
    """The time without what is finer."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def of_or_none(moment: datetime | None) -> int | None:
    """Like `of`, for what may be absent."""
    return None if moment is None else of(moment)


def to_time_or_none(milliseconds: int | None) -> datetime | None:
    """Like `to_time`, for what may be absent."""
    return None if milliseconds is None else to_time(milliseconds)
