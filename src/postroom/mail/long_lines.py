"""Finds lines that are longer than an email may have."""

from typing import AnyStr

LONGEST_LINE = 998  # RFC 5322 §2.1.1: must


def are_in(text: AnyStr, line_end: AnyStr) -> bool:
    """Whether a line has more than 998 characters or octets. Looks at few of the lines: from each that it looks at it
    goes to the last one that can end within reach, and what lies between is shorter."""
    start, reach = 0, LONGEST_LINE + len(line_end)
    while len(text) - start > LONGEST_LINE:
        end = text.rfind(line_end, start, start + reach)
        if end < 0:
            return True
        start = end + len(line_end)
    return False
