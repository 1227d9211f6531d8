"""Suspects are emails that one more crash would fail. Which of them it is that crashes its worker must come out, and no
other must answer for it: a process has at most one of them in hand, however many turns it takes at once."""

import threading
from collections.abc import Container, Sequence

from postroom.mail import lifecycle
from postroom.store.base import Claim


class SuspectPlace:
    """The one place for a suspect; all turns of a process share it. Safe for threads."""

    def __init__(self) -> None:
        self._taken = threading.Lock()

    def take(self) -> bool:
        """Whether it was free; it is not any more."""
        return self._taken.acquire(blocking=False)

    def leave(self) -> None:
        """Makes it free for another suspect."""
        self._taken.release()


class Suspects:
    """The suspects that one turn meets."""

    def __init__(self, place: SuspectPlace) -> None:
        self._place = place
        self._in_hand: str | None = None

    def without_place(self, claims: Sequence[Claim]) -> list[Claim]:
        """Those of the claims that must be put off. Another one gets the place if it is free."""
        suspects = [claim for claim in claims if lifecycle.is_suspect(claim.email.life)]
        if suspects and self._in_hand is None and self._place.take():
            self._in_hand = suspects.pop(0).email.id
        return suspects

    def leave_unless(self, *in_hand: Container[str]) -> None:
        """Leaves the place unless the email that has it is among those that the turn still has in hand."""
        if self._in_hand is not None and not any(self._in_hand in some for some in in_hand):
            self._in_hand = None
            self._place.leave()
