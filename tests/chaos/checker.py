"""The books after a run, by set algebra: what was accepted, what arrived, and what the API says of each."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.chaos.ledger import NO_ANSWER, RECIPIENTS, Asked, Kind, Ledger
from tests.chaos.scenarios import Scenario
from tests.smtpd import Received

PROMISED_SECONDS = 3.0  # for the answer 503
SUCCESSOR_SECONDS = 2.0  # for an API that takes the place of a killed one, and has its port before it serves
NOISE_SECONDS = (0.25, 1.0)  # of a busy machine, in p50 and p99; who waited for the broker would wait two seconds
AFTERMATH_SECONDS = 3.0  # of a fault, while what was killed starts
DOUBT_SECONDS = 200.0  # the doubt lease, the doubt delay, and a bit


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known after a run."""

    scenario: Scenario
    ledger: Ledger
    received: Sequence[Received]
    emails: Mapping[str, Mapping[str, Any]]  # by id, as the API lists them
    timelines: Mapping[str, Sequence[Mapping[str, Any]]]  # of those with more than one attempt
    struck: Mapping[int, float]  # pid -> when it was killed or frozen
    windows: Sequence[tuple[float, float]]  # of faults


@dataclass(slots=True, kw_only=True)
class Findings:
    """The figures of a run, and which promises it broke."""

    accepted: int = 0
    lost: int = 0
    duplicated: int = 0
    flagged: int = 0
    refused: int = 0
    calm: tuple[float, float] = (0.0, 0.0)  # p50 and p99 of submissions, in seconds
    faulty: tuple[float, float] = (0.0, 0.0)
    slowest: float = 0.0  # from acceptance to the relay's 250, in seconds
    recoveries: list[float] = field(default_factory=list)  # of emails struck before their fence
    late_recoveries: list[float] = field(default_factory=list)  # after it
    violations: list[str] = field(default_factory=list)

    def object_to(self, what: str, which: Iterable[object]) -> None:
        """Notes a violation if there is anything to name."""
        if found := sorted(map(str, which)):
            self.violations.append(f"{what}: {len(found)} ({', '.join(found[:5])}{' …' if len(found) > 5 else ''})")


def judge(evidence: Evidence) -> Findings:
    """Draws up the books."""
    findings = Findings(accepted=len(evidence.ledger.accepted))
    _check_arrivals(evidence, findings)
    _check_ends(evidence, findings)
    _check_reads(evidence, findings)
    _check_answers(evidence, findings)
    _check_latency(evidence, findings)
    _check_recovery(evidence, findings)
    return findings


# -- emails -----------------------------------------------------------------------------------------------------------


def _check_arrivals(evidence: Evidence, findings: Findings) -> None:
    """Lost, unexpected, doubled without a flag, called back in vain, mixed up."""
    ledger, copies = evidence.ledger, Counter(_subject(message.data) for message in evidence.received)
    ends = {email["subject"]: email for email in evidence.emails.values()}
    lost = {subject for subject in ledger.accepted if not copies[subject] and not _needs_no_copy(ends.get(subject))}
    doubled = {subject for subject, count in copies.items() if count > 1}
    flagged = {subject for subject, email in ends.items() if email["possible_duplicate"]}
    called_back = ledger.called_back | {subject for subject, email in ends.items() if email["status"] == "canceled"}
    findings.lost, findings.duplicated, findings.flagged = len(lost), len(doubled), len(flagged)
    findings.object_to("lost", lost)
    findings.object_to("arrived unexpectedly", set(copies) - set(ledger.kinds))
    findings.object_to("doubled without a flag", doubled - flagged)
    findings.object_to("doubled although to be held", (s for s in doubled if ledger.kinds.get(s) is Kind.HOLD))
    findings.object_to("arrived although called back", (called_back & set(copies)) - flagged)
    findings.object_to("arrived damaged", {m.rcpt_to for m in evidence.received if not _is_whole(m, ledger)})
    if evidence.scenario.doubt_free:
        findings.object_to("doubled where nothing was in doubt", doubled)
        findings.object_to("flagged where nothing was in doubt", flagged)


def _needs_no_copy(email: Mapping[str, Any] | None) -> bool:
    """Whether its end says that nothing, or perhaps nothing, has arrived."""
    return email is not None and email["status"] in ("bounced", "canceled", "uncertain")


_ENDS: Mapping[Kind, set[str]] = {
    Kind.PLAIN: {"sent"},
    Kind.REFUSED: {"bounced"},
    Kind.SCHEDULED: {"sent"},
    Kind.HOLD: {"sent", "uncertain"},
    Kind.CANCELED: {"sent", "canceled"},
}


def _check_ends(evidence: Evidence, findings: Findings) -> None:
    """Every email has ended as it should; one key made one email; nothing is there that nobody submitted."""
    ledger, emails = evidence.ledger, evidence.emails
    findings.object_to("accepted but not in the store", set(ledger.accepted.values()) - set(emails))
    per_subject = Counter(email["subject"] for email in emails.values())
    findings.object_to("one key made several emails", (s for s, count in per_subject.items() if count > 1))
    findings.object_to("in the store unexpectedly", set(per_subject) - set(ledger.kinds))
    sent = ((_epoch(email["sent_at"]), ledger.accepted_at.get(i)) for i, email in emails.items() if email["sent_at"])
    findings.slowest = max((sent_at - at for sent_at, at in sent if at), default=0.0)
    ends = Counter((ledger.kinds[e["subject"]], e["status"]) for e in emails.values() if e["subject"] in ledger.kinds)
    strange = (f"{count} {kind}: {end}" for (kind, end), count in ends.items() if end not in _ENDS[kind])
    findings.object_to("ended otherwise than expected", strange)


def _is_whole(message: Received, ledger: Ledger) -> bool:
    subject = _subject(message.data)
    kind = ledger.kinds.get(subject)
    return kind is None or (f"This is {subject}.".encode() in message.data and message.rcpt_to == (RECIPIENTS[kind],))


def _subject(data: bytes) -> str:
    found = re.search(rb"^Subject: (.*)\r$", data, re.MULTILINE)
    return found[1].decode() if found else "(no subject)"


# -- answers ----------------------------------------------------------------------------------------------------------


def _check_reads(evidence: Evidence, findings: Findings) -> None:
    ledger = evidence.ledger
    findings.object_to("wrong answers about accepted emails", ledger.wrong_reads)
    _check_codes(evidence, findings, ledger.reads, "reads")


def _check_answers(evidence: Evidence, findings: Findings) -> None:
    submissions = evidence.ledger.submissions
    findings.refused = sum(asked.code == 503 for asked in submissions)
    _check_codes(evidence, findings, submissions, "submissions")
    if evidence.scenario.api_freezes:
        return
    late = {503} if evidence.scenario.api_dies else {503, NO_ANSWER}  # a killed API's backlog waits for the next one
    limit = PROMISED_SECONDS + (SUCCESSOR_SECONDS if evidence.scenario.api_dies else 0)
    slow = (asked for asked in submissions if asked.seconds > limit and asked.code in late)
    findings.object_to(
        "refused too late", (f"{asked.code} {asked.problem} after {asked.seconds:.2f} s" for asked in slow)
    )


def _check_codes(evidence: Evidence, findings: Findings, asked: Iterable[Asked], what: str) -> None:
    """Nothing but 200; 503 while the store may fail; no answer while the API may die or stand still."""
    scenario = evidence.scenario
    fine = {200} | ({503} if scenario.store_fails or scenario.api_freezes else set())
    fine |= {NO_ANSWER} if scenario.api_dies or scenario.api_freezes else set()
    bad = Counter(f"{one.code} {one.problem}" for one in asked if one.code not in fine)
    findings.object_to(f"{what} with another end", (f"{count} x {which}" for which, count in bad.items()))


def _check_latency(evidence: Evidence, findings: Findings) -> None:
    """Flat while it is not the store or the API that is in trouble."""
    submissions = [asked for asked in evidence.ledger.submissions if asked.code == 200]
    faulty = [one.seconds for one in submissions if _overlaps(one, evidence.windows)]
    calm = [one.seconds for one in submissions if not _overlaps(one, evidence.windows)]
    findings.calm, findings.faulty = _percentiles(calm), _percentiles(faulty)
    scenario = evidence.scenario
    if scenario.store_fails or scenario.api_dies or scenario.api_freezes or not faulty:
        return
    for name, before, during, more in zip(("p50", "p99"), findings.calm, findings.faulty, NOISE_SECONDS, strict=True):
        if during > 2 * before + more:
            findings.violations.append(f"latency of submissions not flat: {name} {before:.3f} s, then {during:.3f} s")


def _overlaps(asked: Asked, windows: Sequence[tuple[float, float]]) -> bool:
    return any(began <= asked.at + asked.seconds and asked.at <= ended + AFTERMATH_SECONDS for began, ended in windows)


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds) or [0.0]
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


# -- recovery ---------------------------------------------------------------------------------------------------------


def _check_recovery(evidence: Evidence, findings: Findings) -> None:
    """From the moment when a process was struck until each email it held had its next attempt behind it."""
    for timeline in evidence.timelines.values():
        for lapse, after in pairwise(timeline):
            struck_at = evidence.struck.get(_pid(lapse))
            if struck_at is None or after["event"] in ("failed", "claim_lapsed", "outcome_unknown"):
                continue
            seconds = _epoch(after["at"]) - float(after["detail"].get("seconds", 0)) - struck_at
            if lapse["event"] == "claim_lapsed":
                findings.recoveries.append(seconds)
            elif lapse["event"] == "outcome_unknown":
                findings.late_recoveries.append(seconds)
    limit = evidence.scenario.recovery_seconds
    if limit is None:
        return
    findings.object_to(f"back at work later than {limit} s", (f"{s:.1f} s" for s in findings.recoveries if s > limit))
    late = (f"{s:.1f} s" for s in findings.late_recoveries if s > DOUBT_SECONDS)
    findings.object_to(f"in doubt, and back at work later than {DOUBT_SECONDS} s", late)
    if not findings.recoveries:
        findings.violations.append("no email was struck before its fence: nothing was measured")


def _pid(event: Mapping[str, Any]) -> int:
    return int(str(event["detail"].get("worker", "")).rpartition("/")[2] or 0)


def _epoch(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
