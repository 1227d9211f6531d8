"""Which characters may not stand in what a client sends: those that end lines, steer displays or cannot be encoded."""

import re

LINE_BREAKING = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Not in a one-line text: C0 but for TAB, DEL, C1, the line and paragraph separators, lone surrogates."""

DECEIVING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Not in a name that people judge by its looks (mailbox, file): all of the above, TAB and the bidi controls, with which
`exe.cod` passes for `doc.exe` (UAX #9 §2)."""

JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"))
"""For `str.translate`, to leave them out: invisible, but part of Persian and Indic spelling (RFC 5892 appendix A)."""
