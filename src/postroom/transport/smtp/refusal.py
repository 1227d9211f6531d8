"""What a refusal (4xx, 5xx) of the relay means for those whom it concerns. Pure."""

from postroom.mail.outcome import Phase, Reply, Verdict

ROUTE_CODES = frozenset({530, 535, 538})  # it wants other credentials or encryption (RFC 4954 §6)
_NOT_THE_NUMBER = ("5.2.2", "5.2.3", "5.3.4", "5.7.")  # of recipients: mailbox full, message too large, policy


def verdict(reply: Reply, phase: Phase, *, trusted: bool) -> Verdict:
    """What follows from a refusal at this phase.

    `trusted`: the relay takes other mail from us, or another recipient of this email. Where it wants a login for one
    sender or recipient all the same, it is not down, and this one must not hold up everybody.
    """
    if reply.code in ROUTE_CODES and phase in (Phase.MAIL, Phase.RCPT, Phase.DATA):
        return Verdict.TRANSIENT if trusted else Verdict.ROUTE
    if reply.code < 500 or _refuses_our_name(reply, phase) or _has_enough_recipients(reply, phase):
        return Verdict.TRANSIENT
    return Verdict.PERMANENT if phase is Phase.RCPT else Verdict.REJECTED


def _refuses_our_name(reply: Reply, phase: Phase) -> bool:
    """Many relays judge the name that we said in EHLO only now (Postfix: `reject_non_fqdn_helo_hostname`). That is a
    fault of ours, not the recipient's; addresses without a domain, refused in the same way, do not get so far."""
    return reply.code == 504 and reply.enhanced == "5.5.2" and phase in (Phase.MAIL, Phase.RCPT)


def _has_enough_recipients(reply: Reply, phase: Phase) -> bool:
    """Old relays say 552 in place of 452 to one recipient too many: to be taken as temporary (RFC 5321 §4.5.3.1.10)."""
    return reply.code == 552 and phase is Phase.RCPT and not (reply.enhanced or "").startswith(_NOT_THE_NUMBER)
