"""What the clients know: which submissions were accepted, how long each request took, and what was read afterwards."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

NO_ANSWER = 0  # in place of an HTTP code: the connection broke, so the outcome is unknown


class Kind(StrEnum):
    """What a client wants of an email."""

    PLAIN = "plain"
    REFUSED = "refused"  # its recipient is one whom the relay refuses for good
    SCHEDULED = "scheduled"  # two seconds ahead
    HOLD = "hold"  # rather held as uncertain than sent twice
    CANCELED = "canceled"  # called back as soon as it is accepted, which may be too late


RECIPIENTS: Mapping[Kind, str] = {kind: f"{kind}@example.net" for kind in Kind}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: when it began (monotonic), how long it took, and the HTTP code, or `NO_ANSWER`."""

    at: float
    seconds: float
    code: int
    problem: str = ""


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Kept by all client threads together. A submission is open until it is answered by 200; then its id is known."""

    accepted: dict[str, str] = field(default_factory=dict)  # idempotency key, which is also the subject -> email id
    accepted_at: dict[str, float] = field(default_factory=dict)  # email id -> time of the 200 (epoch)
    kinds: dict[str, Kind] = field(default_factory=dict)  # by subject, of everything ever submitted
    called_back: set[str] = field(default_factory=set)  # subjects whose cancellation was confirmed
    submissions: list[Asked] = field(default_factory=list)
    reads: list[Asked] = field(default_factory=list)
    wrong_reads: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def intend(self, subject: str, kind: Kind) -> None:
        """Notes a submission before it is first sent."""
        with self.lock:
            self.kinds[subject] = kind

    def note(self, subject: str, asked: Asked, email_id: str | None) -> None:
        """Notes what one request to submit came to."""
        with self.lock:
            self.submissions.append(asked)
            if email_id is not None:
                self.accepted[subject] = email_id
                self.accepted_at[email_id] = time.time()

    def note_called_back(self, subject: str) -> None:
        """Notes a cancellation that was confirmed."""
        with self.lock:
            self.called_back.add(subject)

    def note_read(self, asked: Asked, wrong: str | None) -> None:
        """Notes a read of an accepted email, and what was wrong with the answer."""
        with self.lock:
            self.reads.append(asked)
            if wrong:
                self.wrong_reads.append(wrong)

    def some_ids(self) -> Sequence[str]:
        """The ids accepted so far."""
        with self.lock:
            return list(self.accepted.values())
