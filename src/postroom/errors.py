"""Every error that Postroom raises on purpose, and what each one asks of its receiver.

PostroomError
├── SettingsError          the configuration is wrong; `problems` lists every mistake
├── InvalidInput           what a client sent breaks a rule; names the member, never repeats its value
│   ├── NotOffered         … because it asks for what this service does not do
│   ├── MissingMember      … because a required member is absent
│   └── InvalidAttachment  … because of an attachment
├── EmailNotFound          no such email in this account
├── WrongState             the email's status forbids the step; nothing was changed
├── StoreError
│   ├── StoreUnavailable   not reachable, full or broken; surely nothing was written: try again later
│   │   ├── KeyBusy        … because others are using one of the idempotency keys
│   │   └── StoreFull      … because its disk is full, which only an operator mends
│   ├── Unreadable         this email's record is damaged, or of a newer Postroom; it is left as it is
│   ├── OutcomeUnknown     the write may or may not have happened; repeat with the same idempotency key
│   └── StoreLocked        another process owns this store
├── QueueUnavailable       the wake-up was not confirmed; carry on, the sweep will publish it
├── ServiceUnreachable     a command finds no Postroom at the address of its API
├── EndUnknown             a command cannot learn what became of an email that was accepted
├── ResultsUnavailable     the results of chunks are not kept; emails are delivered all the same
└── Overloaded             refused for backpressure; try again after `retry_after_seconds`
"""

from collections.abc import Sequence


class PostroomError(Exception):
    """Base of all errors raised on purpose."""


class SettingsError(PostroomError):
    """The configuration is wrong; `problems` has one sentence per mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class InvalidInput(PostroomError):
    """What a client sent breaks a rule. `member` is the path of its member, such as `attachments[0].content`."""

    def __init__(self, member: str, problem: str) -> None:
        super().__init__(f"{member}: {problem}" if member else problem)
        self.member = member
        self.problem = problem


class NotOffered(InvalidInput):
    """A submission asks for what this service does not do. What is absent may be so because of it."""

    def __init__(self, member: str) -> None:
        super().__init__(member, "is not offered by this service")


class MissingMember(InvalidInput):
    """A required member is absent."""


class InvalidAttachment(InvalidInput):
    """An attachment has no content, cannot be decoded, is too large, or is otherwise not what can be attached."""


class EmailNotFound(PostroomError):
    """No email with this id (or cursor) in this account."""

    def __init__(self, email_id: str) -> None:
        super().__init__(f"no email {email_id}")


class WrongState(PostroomError):
    """The email's status forbids the step; nothing was changed."""

    def __init__(self, step: str, status: str) -> None:
        super().__init__(f"cannot {step} an email that is {status}")


class StoreError(PostroomError):
    """Something is wrong with the store."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, is full or is broken. Surely nothing was written."""


class KeyBusy(StoreUnavailable):
    """Others are using one of the idempotency keys. Nothing was written; submissions without that key are welcome."""


class StoreFull(StoreUnavailable):
    """The disk that holds the store is full, or all but what is kept to finish accepted emails."""


class Unreadable(StoreError):
    """The record of one email is damaged, or a newer Postroom wrote it. It is left as it is."""


class OutcomeUnknown(StoreError):
    """The write may or may not have happened."""


class StoreLocked(StoreError):
    """Another process owns this store."""


class QueueUnavailable(PostroomError):
    """The broker did not confirm in time. The store still holds the email; the sweep publishes it later."""


class ServiceUnreachable(PostroomError):
    """A command of the command line finds no Postroom at the address of its API."""


class EndUnknown(PostroomError):
    """An email was accepted, and a command of the command line cannot learn what becomes of it."""


class ResultsUnavailable(PostroomError):
    """The results of chunks cannot be kept. Nothing depends on them but what Flower and `AsyncResult` show."""


class Overloaded(PostroomError):
    """Refused for backpressure; nothing was stored."""

    def __init__(self, problem: str, *, retry_after_seconds: int) -> None:
        super().__init__(problem)
        self.retry_after_seconds = retry_after_seconds
