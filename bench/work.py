"""The work, the same for every system: N distinct emails of 1 KB, and the requests that submit and read them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

TEXT_BYTES = 893
WARM_UP = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a system takes emails in. Without a `token` it asks for none and knows no idempotency keys."""

    port: int
    token: str | None = None
    sent: str = "sent"  # what its status says of an email that is done


def subject(run: str, number: int) -> str:
    """The subject that this email and no other has."""
    return f"bench-{run}-{number}"


def email(run: str, number: int) -> bytes:
    """One email as JSON."""
    text = f"Email {number} of run {run}. " + "The quick brown fox jumps over the lazy dog.\n" * 20
    value = {
        "from": "Ann Example <ann@example.com>",
        "to": f"user{number}@example.net",
        "subject": subject(run, number),
        "text": text[:TEXT_BYTES],
    }
    return json.dumps(value).encode()


def submissions(target: Target, run: str, numbers: range, *, batch: int = 1) -> Iterator[bytes]:
    """The requests that submit these emails, one by one or so many at a time, each with an idempotency key."""
    for first in numbers[::batch]:
        some = range(first, min(first + batch, numbers.stop))
        if batch == 1:
            path, body = "/emails", email(run, first)
        else:
            path, body = "/emails/batch", b"[" + b",".join([email(run, number) for number in some]) + b"]"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{_key(target)}"
        if target.token:
            head += f"Idempotency-Key: {run}-{first}\r\n"
        yield f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def reads(target: Target, paths: list[str]) -> Iterator[bytes]:
    """The requests that read these paths."""
    for path in paths:
        yield f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_key(target)}\r\n".encode()


def ids_of(body: bytes) -> list[str]:
    """The ids in the answer to a submission: of one email, or of each in a batch."""
    answer = json.loads(body)
    return [str(one["id"]) for one in answer.get("data", [answer])]


def _key(target: Target) -> str:
    return f"Authorization: Bearer {target.token}\r\n" if target.token else ""
