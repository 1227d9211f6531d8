"""What can be chosen on the command line (`make bench NAME=value …`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The choices of one run of the bench."""

    n: int | None = None  # emails for every system, instead of each one's own number
    rounds: int = 3
    connections: int = 32
    batch: int = 100
    batch_connections: int = 4
    delay_ms: int = 0  # of the relay, for each message
    api_processes: int = 1
    workers: int = 1
    children: int = 1  # of each worker, one by one: a second one would only make the groups smaller
    batch_children: int = 2  # and in batches
    relay_connections: int = 100  # of each child; the sink allows as many as one likes
    rate: float | None = None  # submissions a second; as fast as it goes when None
    read_back: int | None = None  # most statuses that are read back by id; all when None
    store_url: str | None = None  # of a store that is there and stays; a new one when None
    stored: tuple[int, ...] = (1_000, 100_000, 1_000_000)  # emails that are there before
    settings: Mapping[str, str] = field(default_factory=dict)  # further settings of the product, by variable
