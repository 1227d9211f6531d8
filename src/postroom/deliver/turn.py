"""The state of one turn, and its steps: take and claim, fence and renew, settle and hand back."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from postroom.deliver import events
from postroom.deliver.held import Held, is_small, left, same_for_all
from postroom.deliver.looks import Looks
from postroom.deliver.suspects import Suspects
from postroom.deliver.turn_settings import TurnSettings
from postroom.deliver.unwritten import Unwritten
from postroom.errors import StoreError, Unreadable
from postroom.mail import mime, settling
from postroom.mail.email import Email, Lane
from postroom.mail.outcome import Envelope, HandOff, Phase, Verdict
from postroom.mail.retry import Random
from postroom.mail.settling import Worker
from postroom.store import attachments, unreadable
from postroom.store.base import Claim, Settlement, Store
from postroom.transport.base import Transport

log = logging.getLogger(__name__)

SUSPECT_PAUSE = timedelta(milliseconds=250)  # between two suspects that are put off
COMPOSE_PAUSE = timedelta(seconds=5)  # before an email whose worker could not get hold of all of it


@dataclass(slots=True, kw_only=True)
class Turn:
    """What one turn holds: ids not yet claimed, claims not yet handed off, and lives not yet written."""

    store: Store
    transport: Transport
    settings: TurnSettings
    worker: Worker
    random: Random
    stopping: Callable[[], bool]
    ids: deque[str]
    suspects: Suspects
    waiting: deque[Claim] = field(default_factory=deque)
    held: dict[str, Held] = field(default_factory=dict)  # all claims, waiting or under way
    bytes_under_way: int = 0
    unwritten: Unwritten = field(init=False)
    verdicts: Counter[str] = field(default_factory=Counter)
    began: datetime = field(init=False)
    renewed_at: datetime = field(init=False)
    looks: Looks = field(init=False)
    stop_began: datetime | None = None

    def __post_init__(self) -> None:
        self.began = self.renewed_at = self.store.clock()
        self.looks = Looks(self.settings, self.began)
        self.unwritten = Unwritten(self.store, worker=self.worker.name)

    # -- taking -------------------------------------------------------------------------------------------------

    def take(self, free: int) -> list[Envelope]:
        """Envelopes for at most `free` hand-offs; none while a stop is under way or the store is away."""
        if self.must_stop() or self.unwritten:
            return []
        if self.store.clock() - self.began - self.settings.turn_limit >= self.settings.turn_age:
            self._leave_what_waits()
        self.claim(free)
        envelopes: list[Envelope] = []
        while len(envelopes) < free and not self.unwritten and (claim := self._next()):
            envelope = self.compose(claim.email)
            if envelope:
                envelopes.append(envelope)
        return envelopes

    def _next(self) -> Claim | None:
        """The next claim to hand over: while enough bytes are under way, only a small email's, or large ones would hold
        up all others for as long as the relay takes over them."""
        is_full = self.bytes_under_way >= self.settings.bytes_under_way
        claim = next((claim for claim in self.waiting if not is_full or is_small(claim.email)), None)
        if claim:
            self.waiting.remove(claim)
        return claim

    def must_stop(self) -> bool:
        """Whether a stop was asked for; remembers since when."""
        if self.stop_began is None and self.stopping():
            self.stop_began = self.store.clock()
        return self.stop_began is not None

    def _leave_what_waits(self) -> None:
        """A turn this old hands over nothing more, so that it ends by itself; others go on with the rest."""
        self.ids.clear()
        handed_back = [left(self.held[claim.email.id]) for claim in self.waiting]
        self.waiting.clear()
        self.settle(handed_back)

    def claim(self, free: int) -> None:
        """Claims what is urgent, then what the wake-up named, then whatever is due."""
        self._linger()
        now = self.store.clock()
        try:
            if self.looks.is_due(Lane.URGENT, now):
                self.waiting.extendleft(
                    reversed(self._claim_due(min(free, self.settings.claim_size), Lane.URGENT, now))
                )
            wanted = min(self.settings.claim_size, 2 * self.transport.capacity) - len(self.waiting)
            if len(self.waiting) >= free or wanted <= 0:
                return
            if self.ids:
                chunk = [self.ids.popleft() for _ in range(min(wanted, len(self.ids)))]
                claims = self.store.claim(chunk, worker=self.worker.name, now=now, lease=self.settings.lease)
                if claims:
                    self.looks.found(len(claims), wanted, now)
                self.waiting.extend(self._hold(claims, now))
            elif self.looks.is_due(Lane.BULK, now):
                self.waiting.extend(self._claim_due(wanted, Lane.BULK, now))
        except StoreError as error:
            events.store_unavailable(error, worker=self.worker.name)

    def _linger(self) -> None:
        """While nothing is in hand, the next look is waited for, that the turn may go on with what it finds."""
        if self.held or self.ids:
            return
        pause = self.looks.seconds_to_wait(self.store.clock())
        if pause > 0:
            time.sleep(pause)
            self.looks.hurry(self.store.clock())

    def _claim_due(self, limit: int, lowest: Lane, now: datetime) -> Sequence[Claim]:
        """Claims due emails of this lane and the more urgent ones."""
        self.looks.begin(lowest, now)
        lease = self.settings.lease
        claims = self.store.claim_due(limit, lowest=lowest, worker=self.worker.name, now=now, lease=lease)
        if lowest is Lane.BULK:
            self.looks.found(len(claims), limit, now)
        return self._hold(claims, now)

    def _hold(self, claims: Sequence[Claim], now: datetime) -> Sequence[Claim]:
        """Keeps the claims, but for suspects that there is no place for now."""
        claims = [claim for claim in claims if self._is_free(claim, now)]
        for claim in claims:
            self.held[claim.email.id] = Held(claim=claim, began=now)
        for number, claim in enumerate(self.suspects.without_place(claims), 1):
            self._settle(left(self.held[claim.email.id]), now, again_at=now + number * SUSPECT_PAUSE)
        self.write()
        return [claim for claim in claims if claim.email.id in self.held]

    def _is_free(self, claim: Claim, now: datetime) -> bool:
        """Whether this turn has nothing under way for the email. It may have, by an earlier claim that has lapsed while
        the process was paused, say; then the new claim is put off."""
        held = self.held.get(claim.email.id)
        if held is None:
            return True
        if held.under_way:
            self._note(claim, left(Held(claim=claim, began=now)), now, again_at=now + self.settings.lease)
            return False
        self.waiting.remove(held.claim)
        return True

    def compose(self, email: Email) -> Envelope | None:
        """The envelope of a claimed email; None, and settled, if it cannot be composed, or not now."""
        try:
            contents = attachments.contents_of(email, store=self.store)
            envelope = mime.envelope(email, contents, return_path=self.settings.return_path)
        except Unreadable as error:
            events.unreadable(email.id, error)
            self._put_off(email, "its attachments cannot be read", unreadable.PAUSE)
        except StoreError as error:
            events.store_unavailable(error, worker=self.worker.name)
            self._put_off(email, "the store did not answer")
        except (MemoryError, OSError) as error:
            events.not_composed(email.id, error)
            self._put_off(email, "its worker lacks memory or files")
        except Exception:
            log.exception("unexpected error", extra={"email_id": email.id})
            self.settle([same_for_all(email, Verdict.REJECTED, Phase.CONNECT, "the message cannot be composed")])
        else:
            held = self.held[email.id]
            held.size, held.began = len(envelope.data), self.store.clock()
            self.bytes_under_way += len(envelope.data)
            return envelope
        return None

    def _put_off(self, email: Email, message: str, pause: timedelta = COMPOSE_PAUSE) -> None:
        self.settle([same_for_all(email, Verdict.RELEASED, Phase.CONNECT, message)], pause=pause)

    # -- while it is under way ------------------------------------------------------------------------------------

    def fence(self, ids: Collection[str]) -> set[str]:
        """Those of `ids` whose final dot may be written now. Raises `StoreError`: then none may."""
        tokens = {email_id: self.held[email_id].claim.token for email_id in ids}
        passed = self.store.fence(tokens, now=self.store.clock(), lease=self.settings.doubt_lease)
        for email_id in passed:
            self.held[email_id].fenced = True
        return passed

    def renew(self) -> None:
        """Extends the leases, three times in the life of the shorter one, but for attempts that have taken too long."""
        now = self.store.clock()
        if now - self.renewed_at < min(self.settings.lease, self.settings.doubt_lease) / 3:
            return
        self.renewed_at = now
        limit = self.settings.attempt_limit
        young = [held for held in self.held.values() if not held.under_way or now - held.began < limit]
        for fenced, lease in ((False, self.settings.lease), (True, self.settings.doubt_lease)):
            tokens = {held.claim.email.id: held.claim.token for held in young if held.fenced is fenced}
            try:
                if tokens:
                    self.store.renew(tokens, now=now, lease=lease)
            except StoreError as error:
                events.store_unavailable(error, worker=self.worker.name)

    def out_of_patience(self) -> bool:
        """Whether a stop has waited long enough for what is under way. Asks for itself, because `take` is not called
        while every hand-off is busy."""
        return self.must_stop() and self.store.clock() > self._patience_ends(self.began)

    # -- ending ---------------------------------------------------------------------------------------------------

    def settle(self, ended: Sequence[HandOff], *, pause: timedelta | None = None) -> None:
        """Turns outcomes into lives and writes them; what the store does not take now is kept for the next call. With a
        `pause`, the next attempts come after it."""
        now = self.store.clock()
        self.verdicts.update([str(outcome.verdict) for hand_off in ended for outcome in hand_off.outcomes])
        for hand_off in ended:
            self._settle(hand_off, now, again_at=now + pause if pause else None)
        self.write()

    def _settle(self, hand_off: HandOff, now: datetime, *, again_at: datetime | None = None) -> None:
        held = self.held.pop(hand_off.email_id)
        self.bytes_under_way -= held.size
        self._note(held.claim, hand_off, now, again_at=again_at)

    def _note(self, claim: Claim, hand_off: HandOff, now: datetime, *, again_at: datetime | None = None) -> None:
        """Keeps the life that follows until it is written."""
        email = claim.email
        life = settling.settle(
            email, hand_off, worker=self.worker, policy=self.settings.policy, now=now, random=self.random
        )
        if again_at:
            life = replace(life, next_attempt_at=again_at)
        self.unwritten.add(Settlement(email_id=email.id, token=claim.token, life=life), hand_off)

    def write(self) -> None:
        """Writes the lives, as far as the store takes them."""
        self.unwritten.write()
        self.suspects.leave_unless(self.held, self.unwritten)

    def hand_back(self) -> None:
        """Ends the turn: nothing stays claimed, as far as the store can be told."""
        self.settle([left(held) for held in list(self.held.values())])
        began = self.store.clock()
        while self.unwritten and self.store.clock() < self._patience_ends(began):
            time.sleep(1)  # the store is away; the outcomes are known to nobody else
            self.write()

    def _patience_ends(self, began: datetime) -> datetime:
        """How long to wait for something that began then: not long once a stop was asked for."""
        if not self.must_stop():
            return began + self.settings.attempt_limit
        return max(began, self.stop_began or began) + self.settings.stop_limit
