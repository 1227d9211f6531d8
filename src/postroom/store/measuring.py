"""How far a server's clock is from the monotonic clock of this host, by one question and its answer."""

MOST_SECONDS = 1.0  # from question to answer: an answer takes no longer unless this process or the link stood still


def in_time(*, asked_at: float, answered_at: float) -> bool:
    """Whether such a measurement can be relied on."""
    return answered_at - asked_at <= MOST_SECONDS


def difference(server_seconds: float, *, asked_at: float, answered_at: float) -> float:
    """What to add to the monotonic clock. The server was asked about the middle; if that took long, nobody knows when,
    and what is sure is that the server's clock shows no less by now: too early is mended later, too late is not."""
    at = (asked_at + answered_at) / 2 if in_time(asked_at=asked_at, answered_at=answered_at) else answered_at
    return server_seconds - at
