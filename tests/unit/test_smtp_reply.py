"""Reading replies that nobody can trust."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mail.outcome import Reply
from postroom.transport.smtp import replies
from postroom.transport.smtp.replies import RawReply, ReplyReader


def read(*pieces: bytes) -> tuple[list[RawReply], ReplyReader]:
    reader = ReplyReader()
    return [answer for piece in pieces for answer in reader.feed(piece)], reader


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"250 ok\r\n", RawReply(250, (b"ok",))),
        (b"250\r\n", RawReply(250, (b"",))),
        (b"250 \r\n", RawReply(250, (b"",))),
        (b"250 ok\n", RawReply(250, (b"ok",))),
        (b"250-a\r\n250-\r\n250 c\r\n", RawReply(250, (b"a", b"", b"c"))),
        (b"250-a\r\n250\r\n", RawReply(250, (b"a", b""))),
        (b"550 \xff\xfe\r\n", RawReply(550, (b"\xff\xfe",))),
    ],
)
def test_whole_reply(data: bytes, expected: RawReply) -> None:
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        answers, reader = read(*pieces)
        assert answers == [expected]
        assert reader.is_empty


@pytest.mark.parametrize("data", [b"250", b"250 ok", b"250-a\r\n", b"250-a\r\n250", b"2"])
def test_half_a_reply_waits_for_the_rest(data: bytes) -> None:
    answers, reader = read(data)
    assert answers == []
    assert reader.garbage is None
    assert not reader.is_empty


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"ok\r\n",
        b"25 ok\r\n",
        b"2500 ok\r\n",
        b"150 wait\r\n",
        b"650 what\r\n",
        b"250ok\r\n",
        b" 250 ok\r\n",
        b"250-a\r\n251 b\r\n",
        b"250-a\r\nb\r\n",
        b"x" * 2049,
        b"250 " + b"x" * 2050 + b"\r\n",
        b"250-x\r\n" * 101,
        b"\0" * 10 + b"\r\n",
    ],
)
def test_garbage_is_told_from_a_reply(data: bytes) -> None:
    answers, reader = read(data)
    assert answers == []
    assert reader.garbage


def test_replies_before_the_garbage_still_count() -> None:
    answers, reader = read(b"250 ok\r\nnonsense\r\n250 ok\r\n")
    assert answers == [RawReply(250, (b"ok",))]
    assert reader.garbage


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_memory_is_bounded_whatever_comes(pieces: list[bytes]) -> None:
    _, reader = read(*pieces)
    assert reader.garbage or len(reader._buffer) <= replies.LONGEST_LINE


@given(st.integers(200, 599), st.lists(st.binary(max_size=50), min_size=1, max_size=5), st.lists(st.integers(1, 30)))
def test_any_pieces_make_the_same_reply(code: int, lines: list[bytes], cuts: list[int]) -> None:
    lines = [line.replace(b"\n", b"").rstrip(b"\r") for line in lines]
    last = len(lines) - 1
    data = b"".join(b"%d%s%s\r\n" % (code, b" " if i == last else b"-", line) for i, line in enumerate(lines))
    pieces, at = [], 0
    for cut in [*cuts, len(data)]:
        pieces.append(data[at : at + cut])
        at += cut
    answers, _ = read(*pieces)
    assert answers == [RawReply(code, tuple(lines))]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (RawReply(250, (b"2.0.0 Ok: queued",)), Reply(code=250, enhanced="2.0.0", text="Ok: queued")),
        (RawReply(550, (b"5.1.1 No such", b"5.1.1 user")), Reply(code=550, enhanced="5.1.1", text="No such user")),
        (RawReply(550, (b"4.1.1 mismatch",)), Reply(code=550, enhanced=None, text="4.1.1 mismatch")),
        (RawReply(250, (b"2.0.0.1 is no code",)), Reply(code=250, enhanced=None, text="2.0.0.1 is no code")),
        (RawReply(250, (b"5.1.1",)), Reply(code=250, enhanced=None, text="5.1.1")),
        (RawReply(550, (b"5.1.1",)), Reply(code=550, enhanced="5.1.1", text="")),
        (RawReply(550, (b"",)), Reply(code=550, enhanced=None, text="")),
        (RawReply(550, (b"a\x1b[31m\x00\x7f\tb",)), Reply(code=550, enhanced=None, text="a[31m b")),
        (RawReply(550, ("caf\u00e9 \u202e\u2028x".encode(),)), Reply(code=550, enhanced=None, text="café x")),
        (RawReply(550, (b"\xff!",)), Reply(code=550, enhanced=None, text="\ufffd!")),
    ],
)
def test_reply_is_kept_harmless(answer: RawReply, expected: Reply) -> None:
    assert replies.of(answer) == expected


def test_long_text_is_cut() -> None:
    assert len(replies.of(RawReply(550, (b"x" * 900, b"y" * 900))).text) == 500


def test_reply_in_one_line() -> None:
    assert replies.in_one_line(Reply(code=550, enhanced="5.1.1", text="No")) == "550 5.1.1 No"
    assert replies.in_one_line(Reply(code=550, enhanced=None, text="")) == "550"
