"""Times as Redis keeps them: milliseconds since 1970, and nothing for none."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return (moment - _EPOCH) // _MILLISECOND


@lru_cache(maxsize=256)  # what is read together was written together, much of it in the same millisecond
def from_ms(milliseconds: int) -> datetime:
    """The aware UTC time of these milliseconds since 1970."""
    return _EPOCH + milliseconds * _MILLISECOND


def ms_or_none(moment: datetime | None) -> int | None:
    """Milliseconds, or None for none: how JSON has it."""
    return None if moment is None else to_ms(moment)


def or_none(milliseconds: int | None) -> datetime | None:
    """The time of such JSON."""
    return None if milliseconds is None else from_ms(milliseconds)
