"""Lines that are longer than an email may have are found wherever they stand."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroom.mail import long_lines

LENGTHS = st.lists(st.sampled_from([0, 1, 2, 50, 497, 498, 499, 500, 996, 997, 998, 999, 1000, 2500]), max_size=12)


@given(LENGTHS, st.sampled_from(["\n", "\r\n"]), st.booleans())
@example([998, 998], "\n", False)
@example([999], "\r\n", True)
def test_long_lines_are_found_and_no_others(lengths: list[int], line_end: str, is_ended: bool) -> None:
    text = line_end.join("x" * length for length in lengths) + line_end * is_ended
    expected = any(length > long_lines.LONGEST_LINE for length in lengths)
    assert long_lines.are_in(text, line_end) is expected
    assert long_lines.are_in(text.encode(), line_end.encode()) is expected


@pytest.mark.parametrize("alone", ["\r", "\n"])
def test_half_a_line_end_ends_no_line(alone: str) -> None:
    assert long_lines.are_in(("x" * 600 + alone) * 2, "\r\n")
