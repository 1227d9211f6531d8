"""One email over one connection: MAIL, RCPT, DATA, body, final dot. Replies in, bytes and outcomes out; no I/O.

The dot is never written by itself: before it the transaction waits for `write_dot`. A small body waits with it, for
each piece that is sent wakes up the relay, and sending costs more than all else here.
"""

from collections.abc import Callable

from msgspec.structs import replace

from postroom.mail.outcome import Envelope, Outcome, Phase, Reply, Verdict
from postroom.transport.smtp import command, plan, refusal, replies
from postroom.transport.smtp.opening import Features
from postroom.transport.smtp.replies import RawReply

CLOSING = 421
SMALL_BODY = 8192  # bytes; the network takes so much at once, so that the dot leaves as soon as it is written
_REFUSED = {
    "mail": "the relay refuses the sender",
    "rcpt": "the relay refuses the recipient",
    "data": "the relay refuses to take the message",
    "body": "the relay refuses the message",
    "dot": "the relay refuses the message",
}


class Transaction:
    """The course of one email. `phase` is how far the dialogue has come; when `is_over`, `outcomes` has all of them.
    `awaits_dot`: the body has been given out to be written, or waits with the dot, and `write_dot` has not been called.
    `early`: it begins in one piece with the final dot of the email before (RFC 2920 §3.1); `followed`: the next does so
    with its own. `trusted`: see `refusal`.

    Then `usable` says whether the connection may carry another email, `heard` that the relay answered something about
    this one, and `unheard` that it ended the connection in place of its first reply, or would not have it so early.
    """

    __slots__ = (
        "_handle", "_held_back", "_open", "_outcomes", "_pipelining", "_plan", "_rcpt", "_sender_taken", "_trusted",
        "awaits_dot", "early", "envelope", "followed", "heard", "is_over", "phase", "unheard", "usable",
    )  # fmt: skip

    def __init__(self, envelope: Envelope, features: Features, *, early: bool = False, trusted: bool = False) -> None:
        self.envelope = envelope
        self.phase = Phase.MAIL
        self.is_over = False
        self.awaits_dot = False
        self.usable = True
        self.heard = False
        self.unheard = False
        self._handle: Callable[[Transaction, RawReply], bytes] = Transaction._on_mail
        self.early = early
        self.followed = False
        self._pipelining = features.pipelining
        self._plan = plan.plan(envelope, features)
        self._outcomes: dict[int, Outcome] = self._plan.refused
        self._open = len(self._plan.recipients)  # how many have no outcome yet
        self._rcpt = 0  # how many have been answered
        self._sender_taken = False
        self._trusted = trusted
        self._held_back = b""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """An outcome for every recipient, once it is over."""
        outcomes = self._outcomes
        return tuple([outcomes[i] for i in range(len(outcomes))])

    # -- what the connection does with it --------------------------------------------------------------------------

    def begin(self) -> bytes:
        """The first bytes to write; none, and it is over at once, where nobody is left that the relay can be told."""
        if not self._plan.recipients:
            return self._end()
        if self._pipelining:
            return b"".join(self._plan.commands) + command.DATA
        return self._plan.commands[0]

    def on_reply(self, raw: RawReply) -> bytes:
        """Takes the next reply; returns what to write, perhaps nothing."""
        if raw.code >= 400:
            if raw.code == CLOSING:
                return self._close(raw, "the relay closes the connection")
            if self.early and not self.heard:
                return self._close(raw, "the relay will not begin yet")
        self.heard = True
        return self._handle(self, raw)

    def write_dot(self) -> bytes:
        """The final dot, which the fence has allowed, after a small body. From here on a lost connection means
        doubt."""
        self.phase = Phase.DOT
        self.awaits_dot = False
        self._handle = Transaction._on_dot
        return self._held_back + command.DOT

    def release(self) -> None:
        """The fence forbids the dot. Only closing the connection ends a message without delivering it."""
        self._settle_rest(Verdict.RELEASED, "handed back before the final dot")
        self._break()

    def lose(self, problem: str, *, closed: bool = False) -> None:
        """The connection talks nonsense or is too slow; or, `closed`, the relay has ended it."""
        self.unheard = closed and not self.heard
        if self.phase is Phase.DOT:
            self._settle_rest(Verdict.UNCERTAIN, f"{problem}, after the final dot")
        else:
            self._settle_rest(Verdict.TRANSIENT, problem)
        self._break()

    # -- replies, phase by phase -----------------------------------------------------------------------------------

    def _on_mail(self, raw: RawReply) -> bytes:
        if raw.code >= 400:
            self._refuse_rest(raw)
            if not self._pipelining:
                return self._end()
        elif raw.code >= 300:
            return self._nonsense(raw)
        else:
            self._sender_taken = True
        self.phase = Phase.RCPT
        self._handle = Transaction._on_rcpt
        return self._next_recipient()

    def _on_rcpt(self, raw: RawReply) -> bytes:
        recipients = self._plan.recipients
        index = recipients[self._rcpt]
        if raw.code >= 400:
            if index not in self._outcomes:
                reply = replies.of(raw)
                self._settle(index, self._verdict(reply), _REFUSED["rcpt"], reply)
        elif raw.code >= 300:
            return self._nonsense(raw)
        elif not self._trusted:
            self._trust()
        self._rcpt += 1
        if self._rcpt < len(recipients):
            return self._next_recipient()
        if not self._pipelining and not self._open:
            return self._reset()
        self.phase = Phase.DATA
        self._handle = Transaction._on_data
        return b"" if self._pipelining else command.DATA

    def _on_data(self, raw: RawReply) -> bytes:
        if raw.code == 354 and self._open:
            self.phase = Phase.BODY
            self.awaits_dot = True
            self._handle = Transaction._on_body
            if len(self._plan.body) > SMALL_BODY:
                return self._plan.body
            self._held_back = self._plan.body
            return b""
        if raw.code == 354 and not self._sender_taken:  # it means another message, which must not end here
            return self._break()
        if raw.code == 354:  # though no recipient is left: the end of an empty message (RFC 2920 §3.1)
            self._handle = Transaction._on_empty_dot
            return command.DOT
        if raw.code < 400:
            return self._nonsense(raw)
        self._refuse_rest(raw)
        return self._reset() if self._sender_taken else self._end()

    def _on_body(self, raw: RawReply) -> bytes:
        """It will not have the rest, which nothing but the end of the connection can stop."""
        if raw.code < 400:
            return self._nonsense(raw)
        self._refuse_rest(raw)
        return self._break()

    def _on_dot(self, raw: RawReply) -> bytes:
        if raw.code >= 400:
            self._refuse_rest(raw)
            return self._end() if self.followed else self._forget()
        if raw.code >= 300:
            return self._nonsense(raw)
        self._settle_rest(Verdict.ACCEPTED, "", replies.of(raw))
        return self._end()

    def _on_empty_dot(self, raw: RawReply) -> bytes:
        return self._end()

    def _on_reset(self, raw: RawReply) -> bytes:
        return self._end() if raw.code == 250 else self._break()

    def _nonsense(self, raw: RawReply) -> bytes:
        said = replies.in_one_line(replies.of(raw))
        self.lose(f"the relay answered out of turn at {self.phase.upper()}: {said}")
        return b""

    # -- moves and outcomes ----------------------------------------------------------------------------------------

    def _next_recipient(self) -> bytes:
        return b"" if self._pipelining else self._plan.commands[self._rcpt + 1]

    def _forget(self) -> bytes:
        """Some relays (Postfix: `smtpd_end_of_data_restrictions`) keep sender and recipients of a message that they
        refuse at the dot, against RFC 5321 §4.1.1.4, and then refuse the next sender."""
        self.phase = Phase.MAIL  # as long as any command may take
        return self._reset()

    def _reset(self) -> bytes:
        self._handle = Transaction._on_reset
        return command.RSET

    def _close(self, raw: RawReply, problem: str) -> bytes:
        """The relay wants the connection to end, perhaps in place of its first reply."""
        self.unheard = not self.heard
        self._settle_rest(Verdict.TRANSIENT, problem, replies.of(raw))
        return self._break()

    def _end(self) -> bytes:
        self.is_over = True
        self.awaits_dot = False
        return b""

    def _break(self) -> bytes:
        self.usable = False
        return self._end()

    def _verdict(self, reply: Reply) -> Verdict:
        return refusal.verdict(reply, self.phase, trusted=self._trusted)

    def _trust(self) -> None:
        """The relay takes a recipient from us: those before whom it refused us are a matter of their own."""
        self._trusted = True
        if self._sender_taken:
            for index, outcome in self._outcomes.items():
                if outcome.verdict is Verdict.ROUTE:
                    self._outcomes[index] = replace(outcome, verdict=Verdict.TRANSIENT)

    def _refuse_rest(self, raw: RawReply) -> None:
        reply = replies.of(raw)
        self._settle_rest(self._verdict(reply), _REFUSED[self.phase], reply)

    def _settle_rest(self, verdict: Verdict, problem: str, reply: Reply | None = None) -> None:
        for index in self._plan.recipients:
            if index not in self._outcomes:
                self._settle(index, verdict, problem, reply)

    def _settle(self, index: int, verdict: Verdict, problem: str, reply: Reply | None) -> None:
        self._open -= 1
        self._outcomes[index] = Outcome(
            recipient=self.envelope.rcpt_to[index],
            verdict=verdict,
            phase=self.phase,
            message=_message(problem, reply),
            reply=reply,
        )


def _message(problem: str, reply: Reply | None) -> str:
    if reply is None:
        return problem
    return f"{problem}: {replies.in_one_line(reply)}" if problem else replies.in_one_line(reply)
