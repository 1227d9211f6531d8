"""The books themselves: what is wrong is found. And the same seed brings the same faults."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.chaos.checker import Evidence, judge
from tests.chaos.faults import FAULTS
from tests.chaos.ledger import NO_ANSWER, RECIPIENTS, Asked, Kind, Ledger
from tests.chaos.run import Order
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.smtpd import Received

STRICT, STORE, MIXED = SCENARIOS["broker-wiped"], SCENARIOS["store-frozen"], SCENARIOS["children-killed"]


def ledger(*kinds: Kind) -> Ledger:
    """One accepted email of each kind, named after it."""
    made = Ledger()
    for kind in kinds:
        made.intend(kind, kind)
        made.note(kind, Asked(at=0, seconds=0.01, code=200), f"id-{kind}")
    return made


def copy(kind: Kind, *, text: str = "") -> Received:
    """What the relay has of it."""
    data = f"Subject: {kind}\r\n\r\n{text or f'This is {kind}.'}\r\n".encode()
    return Received(session=1, mail_from="a@b.example", rcpt_to=(RECIPIENTS[kind],), data=data, parameters=())


def email(kind: Kind, status: str, *, flagged: bool = False) -> Mapping[str, Any]:
    """What the API says of it."""
    return {"subject": str(kind), "status": status, "possible_duplicate": flagged, "sent_at": None, "attempts": 1}


def broken(known: Ledger, received: Sequence[Received], *emails: Mapping[str, Any], scenario: Any = MIXED) -> list[str]:
    """The promises that the books say were broken."""
    by_id = {f"id-{one['subject']}": one for one in emails}
    evidence = Evidence(
        scenario=scenario, ledger=known, received=received, emails=by_id, timelines={}, struck={}, windows=[]
    )
    return [violation.partition(":")[0] for violation in judge(evidence).violations]


def test_balanced_books_break_nothing() -> None:
    emails = [email(Kind.PLAIN, "sent"), email(Kind.REFUSED, "bounced"), email(Kind.CANCELED, "canceled")]
    known = ledger(Kind.PLAIN, Kind.REFUSED, Kind.CANCELED)
    assert broken(known, [copy(Kind.PLAIN)], *emails) == []
    assert broken(known, [copy(Kind.PLAIN)], *emails, scenario=STRICT) == []


def test_lost_email_is_found() -> None:
    assert broken(ledger(Kind.PLAIN), [], email(Kind.PLAIN, "sent")) == ["lost"]


def test_email_that_the_store_forgot_is_found() -> None:
    assert broken(ledger(Kind.PLAIN), [copy(Kind.PLAIN)]) == ["accepted but not in the store"]


def test_email_that_nobody_submitted_is_found() -> None:
    known = ledger(Kind.PLAIN)
    received = [copy(Kind.PLAIN), copy(Kind.HOLD)]
    assert broken(known, received, email(Kind.PLAIN, "sent")) == ["arrived unexpectedly"]


def test_unflagged_duplicate_is_found_and_a_flagged_one_allowed() -> None:
    twice = [copy(Kind.PLAIN)] * 2
    assert broken(ledger(Kind.PLAIN), twice, email(Kind.PLAIN, "sent")) == ["doubled without a flag"]
    assert broken(ledger(Kind.PLAIN), twice, email(Kind.PLAIN, "sent", flagged=True)) == []


def test_any_doubt_is_found_where_there_should_be_none() -> None:
    sent = email(Kind.PLAIN, "sent", flagged=True)
    found = broken(ledger(Kind.PLAIN), [copy(Kind.PLAIN)], sent, scenario=STRICT)
    assert found == ["flagged where nothing was in doubt"]


def test_duplicate_of_an_email_to_be_held_is_found() -> None:
    held = email(Kind.HOLD, "sent", flagged=True)
    assert broken(ledger(Kind.HOLD), [copy(Kind.HOLD)] * 2, held) == ["doubled although to be held"]


def test_arrival_of_what_was_called_back_is_found() -> None:
    known = ledger(Kind.CANCELED)
    known.note_called_back(Kind.CANCELED)
    assert broken(known, [copy(Kind.CANCELED)], email(Kind.CANCELED, "sent")) == ["arrived although called back"]


def test_mixed_up_contents_are_found() -> None:
    damaged = copy(Kind.PLAIN, text="This is another.")
    assert broken(ledger(Kind.PLAIN), [damaged], email(Kind.PLAIN, "sent")) == ["arrived damaged"]


@pytest.mark.parametrize("status", ["failed", "queued", "sending", "bounced"])
def test_wrong_end_is_found(status: str) -> None:
    found = broken(ledger(Kind.PLAIN), [copy(Kind.PLAIN)], email(Kind.PLAIN, status))
    assert found == ["ended otherwise than expected"]


def test_unknown_email_is_found() -> None:
    known = ledger(Kind.PLAIN)
    known.note_read(Asked(at=0, seconds=0.01, code=404), "id-plain: 404")
    found = broken(known, [copy(Kind.PLAIN)], email(Kind.PLAIN, "sent"))
    assert found == ["wrong answers about accepted emails", "reads with another end"]


@pytest.mark.parametrize("code", [500, 503, NO_ANSWER])
def test_refusal_is_found_where_the_store_is_well(code: int) -> None:
    known = ledger(Kind.PLAIN)
    known.note(Kind.PLAIN, Asked(at=0, seconds=0.01, code=code), None)
    assert broken(known, [copy(Kind.PLAIN)], email(Kind.PLAIN, "sent")) == ["submissions with another end"]


@pytest.mark.parametrize(
    ("scenario", "seconds", "found"),
    [
        (STORE, 2.9, []),
        (STORE, 3.1, ["refused too late"]),
        (SCENARIOS["mixed"], 4.9, []),  # its API may just have been starting
        (SCENARIOS["mixed"], 5.1, ["refused too late"]),
    ],
)
def test_late_refusal_is_found_where_the_store_is_ill(scenario: Scenario, seconds: float, found: list[str]) -> None:
    known = ledger(Kind.PLAIN)
    known.note(Kind.PLAIN, Asked(at=0, seconds=seconds, code=503), None)
    assert broken(known, [copy(Kind.PLAIN)], email(Kind.PLAIN, "sent"), scenario=scenario) == found


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_seed_brings_the_same_faults(name: str) -> None:
    plans = [Order(name=name, scenario=SCENARIOS[name], seed=7, seconds=60, rate=1).plan() for _ in range(2)]
    assert plans[0] == plans[1]
    assert {strike.fault for strike in plans[0]} <= set(FAULTS)
