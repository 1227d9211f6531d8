"""Dialogues with the relay at the points where tests begin, without sockets."""

from msgspec.structs import replace

from postroom.mail.outcome import Envelope, Outcome, Verdict
from postroom.transport.smtp.dialogue import Dialogue
from postroom.transport.smtp.relay import Relay
from tests import sending

RELAY = sending.relay(ehlo_name="client.example")
ALL = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000000")
STEPWISE = ("8BITMIME",)
EMAIL = Envelope(
    email_id="1", mail_from="a@example.org", rcpt_to=("b@example.com",), data=b"Subject: x\r\n\r\nHi\r\n", attempt=1
)
TWO = replace(EMAIL, rcpt_to=("b@example.com", "c@example.com"))
PIPELINED = b"MAIL FROM:<a@example.org> SIZE=18\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
GO = b"250 ok\r\n250 ok\r\n354 go\r\n"


def ehlo_reply(*features: str) -> bytes:
    words = ["relay.example", *features]
    return "".join(f"250{' ' if i == len(words) else '-'}{word}\r\n" for i, word in enumerate(words, 1)).encode()


def ready(*features: str, relay: Relay = RELAY) -> Dialogue:
    """A dialogue that has been let in."""
    dialogue = Dialogue(relay)
    dialogue.connected("10.0.0.5")
    assert dialogue.receive(b"220 relay.example\r\n") == b"EHLO client.example\r\n"
    dialogue.receive(ehlo_reply(*features))
    assert dialogue.is_open
    return dialogue


def parked(*features: str, envelope: Envelope = EMAIL) -> Dialogue:
    """A dialogue that waits for the fence."""
    dialogue = ready(*(features or ALL))
    dialogue.begin(envelope)
    dialogue.receive(b"250 ok\r\n" * (1 + len(envelope.rcpt_to)) + b"354 go\r\n")
    assert dialogue.awaits_dot
    return dialogue


def dotted(envelope: Envelope = EMAIL) -> Dialogue:
    """A dialogue that waits for the reply to the final dot."""
    dialogue = parked(envelope=envelope)
    assert dot(dialogue).endswith(b"\r\n.\r\n")
    return dialogue


def dot(dialogue: Dialogue) -> bytes:
    """What is written once the fence has allowed it."""
    assert dialogue.transaction is not None
    return dialogue.transaction.write_dot()


def outcomes(dialogue: Dialogue) -> tuple[Outcome, ...]:
    transaction = dialogue.finish()
    assert transaction.is_over
    return transaction.outcomes


def verdicts(dialogue: Dialogue) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes(dialogue)]
