"""What to tell this relay about this email: command lines and body, and whatever is clear before a byte is written."""

from typing import NamedTuple

from postroom.mail.outcome import Envelope, Outcome, Phase, Reply, Verdict
from postroom.transport.smtp import command, replies
from postroom.transport.smtp.opening import Features

TOO_BIG = Reply(code=552, enhanced="5.3.4", text="not sent: the message is larger than the relay takes")
NO_EIGHT_BIT = Reply(code=554, enhanced="5.6.3", text="not sent: the relay does not take 8-bit messages (8BITMIME)")
NO_UTF8 = Reply(code=553, enhanced="5.6.7", text="not sent: the relay does not take international addresses (SMTPUTF8)")


class Plan(NamedTuple):
    """`commands` are MAIL and one RCPT for each of `recipients` (indexes into the envelope's); `body` is dot-stuffed.

    `refused` has the outcomes of recipients that this relay cannot be told.
    """

    commands: list[bytes]
    recipients: list[int]
    body: bytes
    refused: dict[int, Outcome]


def plan(envelope: Envelope, features: Features) -> Plan:
    """Plans the hand-off of one email. An email that cannot go to this relay at all has only refusals."""
    try:
        data = envelope.data
        body = command.content(data)
        size = len(data) if data.endswith(b"\r\n") else len(data) + 2
        eight_bit = not data.isascii()
        refusal = _refusal(envelope, features, size=size, eight_bit=eight_bit)
        if refusal is not None:
            return _rejected(envelope, refusal.text, refusal)
        return _planned(envelope, features, body, _mail(envelope, features, size=size, eight_bit=eight_bit))
    except ValueError as problem:
        return _rejected(envelope, str(problem))


def _planned(envelope: Envelope, features: Features, body: bytes, mail: bytes) -> Plan:
    commands, recipients = [mail], []
    refused: dict[int, Outcome] = {}
    utf8 = envelope.smtputf8
    for i, recipient in enumerate(envelope.rcpt_to):
        if not recipient:
            raise ValueError("not sent: a recipient without an address")
        if utf8 and not features.smtputf8 and not recipient.isascii():
            refused[i] = _outcome(recipient, Verdict.PERMANENT, Phase.RCPT, NO_UTF8.text, NO_UTF8)
            continue
        commands.append(command.line("RCPT", command.path("TO", recipient, smtputf8=utf8)))
        recipients.append(i)
    return Plan(commands, recipients, body, refused)


def _refusal(envelope: Envelope, features: Features, *, size: int, eight_bit: bool) -> Reply | None:
    if features.size and size > features.size:
        return TOO_BIG
    if envelope.smtputf8 and not features.smtputf8 and (eight_bit or not envelope.mail_from.isascii()):
        return NO_UTF8
    if eight_bit and not features.eight_bit:
        return NO_EIGHT_BIT
    return None


def _mail(envelope: Envelope, features: Features, *, size: int, eight_bit: bool) -> bytes:
    words = [command.path("FROM", envelope.mail_from, smtputf8=envelope.smtputf8)]
    if features.sizes:
        words.append(f"SIZE={size}")
    if eight_bit:
        words.append("BODY=8BITMIME")
    if envelope.smtputf8 and features.smtputf8:
        words.append("SMTPUTF8")
    return command.line("MAIL", *words)


def _rejected(envelope: Envelope, message: str, reply: Reply | None = None) -> Plan:
    refused = {
        i: _outcome(recipient, Verdict.REJECTED, Phase.MAIL, message, reply)
        for i, recipient in enumerate(envelope.rcpt_to)
    }
    return Plan([], [], b"", refused)


def _outcome(recipient: str, verdict: Verdict, phase: Phase, message: str, reply: Reply | None) -> Outcome:
    told = replies.in_one_line(reply) if reply else message
    return Outcome(recipient=recipient, verdict=verdict, phase=phase, message=told, reply=reply)
