"""What the clients know: which submissions were accepted, how long each request took, and what was read afterwards."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

NO_ANSWER = 0  # in place of an HTTP code: the connection broke, so the outcome is unknown


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
    recipients: dict[str, str] = field(default_factory=dict)  # subject -> recipient, of everything ever submitted
    submissions: list[Asked] = field(default_factory=list)
    reads: list[Asked] = field(default_factory=list)
    wrong_reads: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def intend(self, subject: str, recipient: str) -> None:
        """Notes a submission before it is first sent."""
        with self.lock:
            self.recipients[subject] = recipient

    def note(self, subject: str, asked: Asked, email_id: str | None) -> None:
        """Notes what one request to submit came to."""
        with self.lock:
            self.submissions.append(asked)
            if email_id is not None:
                self.accepted[subject] = email_id
                self.accepted_at[email_id] = time.time()

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

    def unanswered(self) -> set[str]:
        """Subjects whose outcome nobody knows: they may or may not arrive."""
        return set(self.recipients) - set(self.accepted)
