"""A claim in the hands of a turn, and the outcomes that a turn knows by itself."""

from dataclasses import dataclass
from datetime import datetime

from postroom.mail.email import Email
from postroom.mail.outcome import HandOff, Outcome, Phase, Verdict
from postroom.store.base import Claim

SMALL_BYTES = 256 * 1024


@dataclass(slots=True, kw_only=True)
class Held:
    """A claim that a turn holds, and how far it has come: it waits until it has a size, then it is under way; `began`
    says since when."""

    claim: Claim
    began: datetime
    size: int = 0
    fenced: bool = False

    @property
    def under_way(self) -> bool:
        """Whether the transport has it."""
        return self.size > 0


def is_small(email: Email) -> bool:
    """Whether it takes little memory, without looking at its attachments' contents."""
    return sum([len(email.text or ""), len(email.html or ""), *[one.size for one in email.attachments]]) <= SMALL_BYTES


def left(held: Held) -> HandOff:
    """The outcome of a claim whose hand-off was dropped: in doubt after the fence, untried before it."""
    if held.fenced:
        return same_for_all(held.claim.email, Verdict.UNCERTAIN, Phase.DOT, "stopped before the reply to the final dot")
    return same_for_all(held.claim.email, Verdict.RELEASED, Phase.CONNECT, "stopped before the final dot")


def same_for_all(email: Email, verdict: Verdict, phase: Phase, message: str) -> HandOff:
    """This outcome for every recipient that is still pending."""
    outcomes = [
        Outcome(recipient=recipient.address, verdict=verdict, phase=phase, message=message)
        for recipient in email.life.pending
    ]
    return HandOff(email_id=email.id, relay="", seconds=0.0, outcomes=outcomes)


def took(hand_off: HandOff) -> bool:
    """Whether the relay has taken the email, for one recipient at least."""
    return any(outcome.verdict is Verdict.ACCEPTED for outcome in hand_off.outcomes)
