"""Every store, against a model: whatever is done in whatever order, with stale tokens too, both agree on every life."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from postroom.errors import WrongState
from postroom.mail import lifecycle
from postroom.mail.email import Email, Lane, Life, OnUncertain, Status
from postroom.store.base import Claim, Settlement, Store
from tests import make
from tests.conformance.model import DOUBT_DELAY, Known
from tests.make import ACCOUNT, HOUR, LEASE, SECOND

S = TypeVar("S")
T = TypeVar("T")

PUBLISHED_FOR = 15 * SECOND
LANES = tuple(Lane)
PAUSES = (1, 31, 61, 121, 3600, 80 * 3600)  # seconds
OFTEN = ("add", "claim", "fence", "settle", "recover_all")
STEPS = (
    *(2 * OFTEN),
    *("add", "claim_due", "renew", "settle_late", "recover", "expire", "due", "prune", "wait"),
    *("cancel", "reschedule", "retry"),
)


def steps(random: Random, count: int = 40) -> Iterator[tuple[str, list[int], int]]:
    """Steps that are not shaped by Hypothesis, whose lists repeat themselves too much to get far into a life."""
    for _ in range(count):
        yield random.choice(STEPS), [random.randrange(6) for _ in range(random.randint(1, 3))], random.randrange(6)


class Play:
    """A store and its model side by side. Each step gets places, counted back from the newest, and a number."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = store.clock()
        self.known: dict[str, Known] = {}
        self.claims: list[Claim] = []  # all that ever were

    def add(self, chosen: Sequence[int], number: int) -> None:
        due = self.now + max(number - 3, 0) * HOUR
        lane, choice = LANES[number % 3], list(OnUncertain)[chosen[0] % 2]
        build = make.scheduled(self.now, due) if due > self.now else make.email(self.now)
        most = (1, 2, 25)[number % 3]
        email = make.email(self.now, lane=lane, on_uncertain=choice, max_attempts=most, life=build.life)
        self.store.add([make.submission(email)], now=self.now, wake_up_at=self.now + PUBLISHED_FOR)
        self.known[email.id] = Known(email, email.life, due if due > self.now else self.now + PUBLISHED_FOR)

    def wait(self, chosen: Sequence[int], number: int) -> None:
        self.now += timedelta(seconds=PAUSES[number])

    # -- workers

    def claim(self, chosen: Sequence[int], number: int) -> None:
        ids = list({known.email.id: 0 for known in self._emails(chosen)})
        claims = self.store.claim(ids, worker="w", now=self.now, lease=LEASE)
        assert [c.email.id for c in claims] == [i for i in ids if self.known[i].claimable(self.now)]
        self._claimed(claims)

    def claim_due(self, chosen: Sequence[int], number: int) -> None:
        limit, served = len(chosen), LANES[: number % 3 + 1]
        claimable = [k.order for k in self.known.values() if k.claimable(self.now) and k.email.lane in served]
        claims = self.store.claim_due(limit, lowest=served[-1], worker="w", now=self.now, lease=LEASE)
        assert [self.known[c.email.id].order for c in claims] == sorted(claimable)[:limit]  # type: ignore[type-var]
        self._claimed(claims)

    def renew(self, chosen: Sequence[int], number: int) -> None:
        tokens = self._tokens(chosen)
        self.store.renew(tokens, now=self.now, lease=LEASE)
        for known in self._holding(tokens):
            known.lease_until = self.now + LEASE

    def fence(self, chosen: Sequence[int], number: int) -> None:
        tokens = self._tokens(chosen)
        holding = [k for k in self._holding(tokens) if k.lease_until and k.lease_until > self.now]
        assert self.store.fence(tokens, now=self.now, lease=4 * LEASE) == {k.email.id for k in holding}
        for known in holding:
            known.fenced, known.lease_until = True, self.now + 4 * LEASE

    def settle(self, chosen: Sequence[int], number: int) -> None:
        settlements = [self._ending(claim, number) for claim in self._claims(chosen)]
        known = [s for s in settlements if s.email_id in self.known]
        expected = {s.email_id for s in known if self.known[s.email_id].settle(s, self.now)}
        assert self.store.settle(settlements, now=self.now) == expected

    def settle_late(self, chosen: Sequence[int], number: int) -> None:
        settlements = [make.sent(claim, self.now) for claim in self._claims(chosen)]
        known = [s for s in settlements if s.email_id in self.known]
        expected = {s.email_id for s in known if self.known[s.email_id].settle_late(s, self.now)}
        assert self.store.settle_late(settlements, now=self.now) == expected

    # -- the sweep

    def recover(self, chosen: Sequence[int], number: int, *, everything: bool = False) -> None:
        lapsed = [k for k in self.known.values() if k.lapsed(self.now, everything=everything)]
        count = self.store.recover(100, now=self.now, doubt_delay=DOUBT_DELAY, everything=everything)
        assert count == len(lapsed)
        for known in lapsed:
            known.recover(self.now)

    def recover_all(self, chosen: Sequence[int], number: int) -> None:
        self.recover(chosen, number, everything=True)

    def expire(self, chosen: Sequence[int], number: int) -> None:
        expired = [k for k in self.known.values() if k.expired(self.now)]
        assert self.store.expire(100, now=self.now) == len(expired)
        for known in expired:
            known.becomes(lifecycle.expire(known.life, now=self.now), self.now)

    def due(self, chosen: Sequence[int], number: int) -> None:
        unpublished = {k.email.id for k in self.known.values() if k.unpublished(self.now)}
        expired = {k.email.id for k in self.known.values() if k.unpublished(self.now) and k.expired(self.now)}
        limit = 100 if expired else number + 1  # how many of them were put off is not told
        by_lane = self.store.due(limit, now=self.now, wake_up_again_at=self.now + PUBLISHED_FOR)
        ids = [email_id for some_ids in by_lane.values() for email_id in some_ids]
        assert len(ids) == len(set(ids)) == min(limit, len(unpublished - expired))
        assert set(ids) <= unpublished - expired
        assert all(self.known[i].email.lane is lane for lane, some_ids in by_lane.items() for i in some_ids)
        for email_id in ids:
            self.known[email_id].publish(self.now, PUBLISHED_FOR)

    def prune(self, chosen: Sequence[int], number: int) -> None:
        ended = [k for k in self.known.values() if k.finished_at and k.finished_at < self.now]
        assert self.store.prune(100, now=self.now, finished_before=self.now) == len(ended)
        for known in ended:
            del self.known[known.email.id]

    # -- senders

    def cancel(self, chosen: Sequence[int], number: int) -> None:
        now = self.now
        self._wish(
            chosen,
            lambda life: lifecycle.cancel(life, now=now),
            lambda email_id: self.store.cancel(ACCOUNT, email_id, now=now),
        )

    def reschedule(self, chosen: Sequence[int], number: int) -> None:
        now, at = self.now, self.now + (number - 2) * HOUR
        self._wish(
            chosen,
            lambda life: lifecycle.reschedule(life, at, now=now),
            lambda email_id: self.store.reschedule(ACCOUNT, email_id, at, now=now),
        )

    def retry(self, chosen: Sequence[int], number: int) -> None:
        now, later = self.now, self.now + PUBLISHED_FOR
        self._wish(
            chosen,
            lambda life: lifecycle.retry(life, now=now, max_age=HOUR),
            lambda email_id: self.store.retry(ACCOUNT, email_id, now=now, max_age=HOUR, wake_up_at=later),
            wake_up_at=later,
        )

    def check(self) -> None:
        """Both agree on every life, and the books balance."""
        for known in self.known.values():
            stored = self.store.get(ACCOUNT, known.email.id)
            assert stored is not None
            assert stored.life == known.life
        statuses = [known.life.status for known in self.known.values()]
        assert {status: n for status, n in self.store.counts().items() if n} == Counter(statuses)
        assert self.store.backlog() == sum(s in lifecycle.CLAIMABLE or s is Status.SENDING for s in statuses)

    def _emails(self, chosen: Sequence[int]) -> list[Known]:
        return _some(list(self.known.values()), chosen)

    def _claims(self, chosen: Sequence[int]) -> list[Claim]:
        return list({claim.email.id: claim for claim in _some(self.claims, chosen)}.values())

    def _tokens(self, chosen: Sequence[int]) -> dict[str, str]:
        return {claim.email.id: claim.token for claim in self._claims(chosen)}

    def _holding(self, tokens: dict[str, str]) -> list[Known]:
        return [self.known[i] for i, token in tokens.items() if i in self.known and self.known[i].token == token]

    def _ending(self, claim: Claim, number: int) -> Settlement:
        if number < 2:
            return make.sent(claim, self.now)
        return make.failed(claim, self.now) if number == 2 else make.retrying(claim, self.now, self.now + SECOND)

    def _claimed(self, claims: list[Claim]) -> None:
        for claim in claims:
            known = self.known[claim.email.id]
            known.claim(claim.token, self.now)
            assert claim.email.life == known.life
        self.claims += claims

    def _wish(
        self,
        chosen: Sequence[int],
        expect: Callable[[Life], Life],
        wish: Callable[[str], Email],
        wake_up_at: datetime | None = None,
    ) -> None:
        for known in self._emails(chosen[:1]):
            expected = _unless_refused(expect, known.life)
            email = _unless_refused(wish, known.email.id)
            assert (email and email.life) == expected
            if expected:
                known.becomes(expected, self.now, wake_up_at=wake_up_at)


def _some(things: list[T], chosen: Sequence[int]) -> list[T]:
    return [things[-1 - place % len(things)] for place in chosen] if things else []


def _unless_refused(wish: Callable[[S], T], subject: S) -> T | None:
    try:
        return wish(subject)
    except WrongState:
        return None


@pytest.mark.slow
def test_store_agrees_with_the_model_after_any_steps(fresh_store: Callable[[], Store]) -> None:
    @settings(max_examples=10, deadline=None)  # each plays some 50 steps against a real server
    @given(st.randoms(use_true_random=True))
    def play(random: Random) -> None:
        store = fresh_store()
        both = Play(store)
        for number in range(3):
            both.add([number], number)
        for name, chosen, number in steps(random):
            note(f"{name} {chosen} {number}")
            getattr(both, name)(chosen, number)
            both.check()
        store.close()

    play()
