"""Token buckets: so many a second on average, so many at once; one per key or address, bounded in number."""

import math
import time
from dataclasses import dataclass

MOST_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketState:
    """What is left after a try. `taken` tells whether there was a token; times are whole seconds, rounded up."""

    taken: bool
    remaining: int
    full_in_seconds: int
    next_in_seconds: int


class Buckets:
    """`size` tokens each, refilled at `rate` a second. Buckets that are full again are forgotten."""

    def __init__(self, *, rate: float, size: int) -> None:
        self.rate = rate
        self.size = size
        self._buckets: dict[str, _Bucket] = {}

    def take(self, name: str, *, now: float | None = None) -> BucketState:
        """Takes a token from the bucket of this name, if there is one. `now` is in monotonic seconds."""
        now = time.monotonic() if now is None else now
        bucket = self._buckets.get(name)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[name] = _Bucket(self.size, now)
        tokens = min(self.size, bucket.tokens + max(0.0, now - bucket.filled_at) * self.rate)
        taken = tokens >= 1
        bucket.tokens, bucket.filled_at = tokens - taken, now
        return BucketState(
            taken=taken,
            remaining=int(bucket.tokens),
            full_in_seconds=math.ceil((self.size - bucket.tokens) / self.rate),
            next_in_seconds=max(1, math.ceil((1 - bucket.tokens) / self.rate)),
        )

    def _make_room(self, now: float) -> None:
        if len(self._buckets) < MOST_BUCKETS:
            return
        full_after = self.size / self.rate
        self._buckets = {name: b for name, b in self._buckets.items() if now - b.filled_at < full_after}
        if len(self._buckets) >= MOST_BUCKETS:  # under attack: the oldest half is let go
            self._buckets = dict(list(self._buckets.items())[MOST_BUCKETS // 2 :])
