"""A process that writes to a store and says on standard output what was acknowledged; made to be killed.

Run as `python -m tests.integration.sqlite_child PATH`. Lines are `added ID` and `sent ID`; the first is `open`.
"""

import sys
import threading
from pathlib import Path

from postroom.store.base import Store
from postroom.store.sqlite import SqliteStore
from tests import make
from tests.make import HOUR, LEASE

_gate = threading.Lock()


def say(line: str) -> None:
    """Writes one whole line at once."""
    with _gate:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def write(store: Store, emails: int) -> None:
    """Adds, claims, fences and settles for ever, so many emails at a time."""
    while True:
        now = store.clock()
        batch = [make.email(now, id=make.random_id(now), text="x" * 2000) for _ in range(emails)]
        store.add([make.submission(*batch)], now=now, wake_up_at=now + HOUR)
        for email in batch:
            say(f"added {email.id}")
        claims = store.claim([email.id for email in batch[1:]], worker="child", now=now, lease=LEASE)
        store.fence({claim.email.id: claim.token for claim in claims[:1]}, now=now, lease=LEASE)
        for email_id in store.settle([make.sent(claim, now) for claim in claims[1:]], now=now):
            say(f"sent {email_id}")


def main() -> None:
    """Writes with several threads until killed."""
    store = SqliteStore(Path(sys.argv[1]))
    say("open")
    for emails in range(1, 5):
        threading.Thread(target=write, args=(store, emails)).start()


if __name__ == "__main__":
    main()
