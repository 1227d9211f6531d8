"""A turn that outlasts the leases of what it holds."""

from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroom.deliver import Terms, deliver
from postroom.mail.email import Status
from postroom.mail.outcome import HandOff, Outcome, Phase, Verdict
from postroom.mail.retry import RetryPolicy
from postroom.mail.settling import Worker
from postroom.store.sqlite import SqliteStore
from postroom.transport.base import Fence, Take
from tests import make

TICK = timedelta(seconds=10)
SHORT, LONG = timedelta(seconds=40), timedelta(hours=1)


class Ahead(SqliteStore):
    """A store whose clock can be set forward."""

    ahead = timedelta(0)

    def clock(self) -> datetime:
        return super().clock() + self.ahead


class SlowToReply:
    """A transport whose relay takes ten ticks before the final dot, or after it. At each the sweep passes by."""

    relay, capacity = "slow", 1

    def __init__(self, store: Ahead, *, after_the_dot: bool) -> None:
        self.store, self.after_the_dot = store, after_the_dot
        self.recovered = 0

    def send(self, take: Take, *, fence: Fence) -> Generator[Sequence[HandOff], None, None]:
        (envelope,) = take(1)
        if self.after_the_dot:
            fence([envelope.email_id])
        for _ in range(10):
            self.store.ahead += TICK
            yield []
            now = self.store.clock()
            self.recovered += self.store.recover(10, now=now, doubt_delay=timedelta(0))
        if not self.after_the_dot:
            fence([envelope.email_id])
        outcome = Outcome(recipient=envelope.rcpt_to[0], verdict=Verdict.ACCEPTED, phase=Phase.DOT, message="250")
        yield [HandOff(email_id=envelope.email_id, relay=self.relay, seconds=1.0, outcomes=[outcome])]

    def resting(self) -> float:
        return 0.0

    def ping(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("after_the_dot", [False, True])
@pytest.mark.parametrize(("lease", "doubt_lease"), [(SHORT, LONG), (LONG, SHORT)])
def test_leases_are_renewed_in_time_whichever_is_the_shorter(
    tmp_path: Path, lease: timedelta, doubt_lease: timedelta, after_the_dot: bool
) -> None:
    with closing(Ahead(tmp_path / "store.sqlite3")) as store:
        at = store.clock()
        (email,) = make.stored(store, at, make.email(at))
        transport = SlowToReply(store, after_the_dot=after_the_dot)
        deliver(
            [email.id],
            store=store,
            transport=transport,
            terms=Terms(policy=RetryPolicy(), lease=lease, doubt_lease=doubt_lease),
            worker=Worker(name="w1"),
            random=lambda: 0.5,
        )
        found = store.get(email.account, email.id)
    assert found
    assert (transport.recovered, found.life.status, found.life.possible_duplicate) == (0, Status.SENT, False)
