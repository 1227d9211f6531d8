"""What may not be among the lines of a message is found wherever it stands, and nothing else is."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from postroom.mail import lines

LENGTHS = st.lists(st.sampled_from([0, 1, 2, 50, 497, 498, 499, 500, 996, 997, 998, 999, 1000, 2500]), max_size=12)


@given(LENGTHS, st.sampled_from(["\n", "\r\n"]), st.booleans())
@example([998, 998], "\n", False)
@example([999], "\r\n", True)
def test_long_lines_are_found_and_no_others(lengths: list[int], line_end: str, is_ended: bool) -> None:
    text = line_end.join("x" * length for length in lengths) + line_end * is_ended
    expected = any(length > lines.LONGEST for length in lengths)
    assert lines.are_too_long(text, line_end) is expected
    assert lines.are_too_long(text.encode(), line_end.encode()) is expected


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"x", b"\0", b"\x85", b"\xe2\x80\xa8", b"\xff", b"y" * 5000])))
@example([b"\r\n", b"\r", b"\r\n"])
@example([b"\r\n", b"\n"])
@example([b"\r\n", b"\r"])
@example([b"x" * 100_000, b"\r\n", b"\n", b"\r\n"])
@example([b"\r\n", b"x", b"\0", b"\r\n"])
def test_nul_and_bare_ends_are_found_and_nothing_else(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert lines.are_unsafe(data) is bool(re.search(rb"\r(?!\n)|(?<!\r)\n|\0", data))


def test_bare_end_ends_no_line() -> None:
    assert lines.are_too_long(("x" * 600 + "\r") * 2 + "\r\n", "\r\n")
    assert lines.are_too_long(("x" * 600 + "\n") * 2 + "\r\n", "\r\n")
