"""What is in the message, how large it is, and how slowly it goes: it arrives as it was, or not at all."""

import threading
import time

from msgspec.structs import replace

from postroom.mail.outcome import Phase, Verdict
from tests.sending import QUICK, OpenSmtp, envelope, send, subject, verdicts
from tests.smtpd import Action, Hold, Offer, Raw, Smtpd


def test_replies_in_single_bytes_are_understood(opened: OpenSmtp) -> None:
    with Smtpd(drip=True) as server:
        emails = [envelope("a@example.com", "b@example.com") for _ in range(10)]
        for hand_off in send(opened(server.url), *emails):
            assert verdicts(hand_off) == [Verdict.ACCEPTED, Verdict.ACCEPTED]
        assert server.violations == []


def test_reply_in_ever_more_single_bytes_does_not_prolong_the_time(server: Smtpd, opened: OpenSmtp) -> None:
    tick = threading.Event()
    drops: list[Action] = []
    for _ in range(20):
        drops += [Raw(b"2"), Hold(tick, seconds=0.1)]
    server.script.on("mail", *drops)
    began = time.monotonic()
    (hand_off,) = send(opened(server.url, timeouts=QUICK), envelope())
    assert verdicts(hand_off) == [Verdict.TRANSIENT]
    assert time.monotonic() - began < 1.9
    tick.set()


def test_large_message_arrives_whole_over_a_relay_that_reads_late(server: Smtpd, opened: OpenSmtp) -> None:
    gate = Hold(threading.Event(), seconds=0.3)
    server.script.on("body", gate)
    email = envelope(size=9_000_000)
    (hand_off,) = send(opened(server.url), email)
    assert verdicts(hand_off) == [Verdict.ACCEPTED]
    assert server.wait_for(1)[0].data == email.data


def test_relay_that_stops_reading_in_the_middle_of_the_body_is_given_up(opened: OpenSmtp) -> None:
    over = threading.Event()
    with Smtpd(Offer(size=None)) as server:
        server.script.on("body", Hold(over))
        (hand_off,) = send(opened(server.url, timeouts=QUICK), envelope(size=30_000_000))
        over.set()
        assert (verdicts(hand_off), hand_off.outcomes[0].phase) == ([Verdict.TRANSIENT], Phase.BODY)
        assert server.received == []


def test_dots_and_missing_line_ends_arrive_as_they_were(server: Smtpd, opened: OpenSmtp) -> None:
    bodies = [b".", b"..\r\n.", b".a\r\n..b\r\n.\r\n\r\n.", b"", b"\r\n\r\n"]
    for body in bodies:
        email = envelope()
        head = email.data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        send(opened(server.url), replace(email, data=head + body))
    wanted = [body if body.endswith(b"\r\n") or not body else body + b"\r\n" for body in bodies]
    assert [message.data.partition(b"\r\n\r\n")[2] for message in server.wait_for(len(bodies))] == wanted


def test_message_above_the_offered_size_is_not_sent(opened: OpenSmtp) -> None:
    with Smtpd(Offer(size=1000)) as server:
        large, small = envelope(size=2000), envelope()
        hand_offs = send(opened(server.url), large, small)
        assert [verdicts(hand_off) for hand_off in hand_offs] == [[Verdict.REJECTED], [Verdict.ACCEPTED]]
        assert hand_offs[0].outcomes[0].reply is not None
        assert hand_offs[0].outcomes[0].reply.code == 552
        assert [subject(message.data) for message in server.received] == [small.email_id]


def test_address_that_would_be_two_commands_never_reaches_the_wire(server: Smtpd, opened: OpenSmtp) -> None:
    bad, good = envelope("a@example.com>\r\nRCPT TO:<evil@example.com"), envelope()
    hand_offs = send(opened(server.url), bad, good)
    assert [verdicts(hand_off) for hand_off in hand_offs] == [[Verdict.REJECTED], [Verdict.ACCEPTED]]
    assert not any("evil" in line for _, line in server.commands)
