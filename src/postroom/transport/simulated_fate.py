"""What the simulated transport does to an address: the table in `simulated`, as code. Pure."""

import re
from dataclasses import dataclass

from postroom.mail.outcome import Outcome, Phase, Reply, Verdict

ROUTE_TROUBLES = 2  # how often an email meets route trouble before it gets through
_SLOW_SECONDS = 30
_SLOWEST_SECONDS = 600
_SLOW = re.compile(r"slow(?:-([0-9]{1,9}))?")
_DEFER_THEN_OK = re.compile(r"defer-([0-9]{1,9})-then-ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What one recipient meets, and after how many seconds where that is scripted too."""

    verdict: Verdict
    phase: Phase
    message: str
    reply: Reply | None = None
    seconds: float | None = None

    @property
    def reaches_dot(self) -> bool:
        """Whether the relay would be told this recipient's message to its end."""
        return self.phase is Phase.DOT

    def outcome(self, recipient: str) -> Outcome:
        """The fate as the outcome of this recipient."""
        return Outcome(
            recipient=recipient, verdict=self.verdict, phase=self.phase, message=self.message, reply=self.reply
        )


def _answered(verdict: Verdict, phase: Phase, code: int, enhanced: str, text: str) -> Fate:
    reply = Reply(code=code, enhanced=enhanced, text=text)
    return Fate(verdict=verdict, phase=phase, message=f"{code} {enhanced} {text}", reply=reply)


OK = _answered(Verdict.ACCEPTED, Phase.DOT, 250, "2.0.0", "Simulated: accepted, delivered nowhere")
RELEASED = Fate(verdict=Verdict.RELEASED, phase=Phase.BODY, message="handed back before the final dot")
_DEFERRED = _answered(Verdict.TRANSIENT, Phase.RCPT, 451, "4.7.1", "Simulated: try again later")
_IN_DOUBT = Fate(verdict=Verdict.UNCERTAIN, phase=Phase.DOT, message="simulated: no reply to the final dot")
_SCRIPTED = {
    "bounce": _answered(Verdict.PERMANENT, Phase.RCPT, 550, "5.1.1", "Simulated: no such user"),
    "full": _answered(Verdict.TRANSIENT, Phase.RCPT, 452, "4.2.2", "Simulated: mailbox full"),
    "defer": _DEFERRED,
    "reject": _answered(Verdict.REJECTED, Phase.DOT, 554, "5.6.0", "Simulated: message refused"),
    "timeout": Fate(verdict=Verdict.TRANSIENT, phase=Phase.RCPT, message="simulated: no reply from the relay"),
}
_ROUTE_TROUBLE = {
    "route-down": Fate(verdict=Verdict.ROUTE, phase=Phase.CONNECT, message="simulated: the relay cannot be reached"),
    "auth-refused": _answered(Verdict.ROUTE, Phase.AUTH, 535, "5.7.8", "Simulated: authentication refused"),
}


def of(recipient: str, *, attempt: int, in_doubt: bool = False) -> Fate:
    """What this recipient meets on this attempt, once the relay itself is reached; `in_doubt`: an earlier one, perhaps
    before a retry by hand, got no reply to the final dot."""
    name = _name(recipient)
    if (fate := _SCRIPTED.get(name)) is not None:
        return fate
    if name == "uncertain" and attempt <= 1 and not in_doubt:
        return _IN_DOUBT
    if (deferred := _DEFER_THEN_OK.fullmatch(name)) and attempt <= int(deferred[1]):
        return _DEFERRED
    if slow := _SLOW.fullmatch(name):
        return _after(min(int(slow[1] or _SLOW_SECONDS), _SLOWEST_SECONDS))
    return OK


def route_trouble(recipients: tuple[str, ...]) -> Fate | None:
    """The trouble with the relay itself that one of these recipients asks for; it meets the whole email."""
    troubles = (_ROUTE_TROUBLE.get(_name(recipient)) for recipient in recipients)
    return next((trouble for trouble in troubles if trouble), None)


def _name(recipient: str) -> str:
    return recipient.partition("@")[0].partition("+")[0].lower()


def _after(seconds: float) -> Fate:
    return Fate(verdict=OK.verdict, phase=OK.phase, message=OK.message, reply=OK.reply, seconds=seconds)
