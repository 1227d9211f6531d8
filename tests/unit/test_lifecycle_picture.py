"""The picture in the documentation shows exactly the moves that the code allows."""

import re
from pathlib import Path

from postroom.mail.lifecycle import MOVES

PICTURE = Path(__file__).parents[2] / "docs" / "lifecycle.md"


def test_picture_shows_every_move_and_no_other() -> None:
    text = PICTURE.read_text(encoding="utf-8")
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)", text, re.MULTILINE))
    allowed = {(str(a), str(b)) for a, targets in MOVES.items() for b in targets}
    assert drawn == allowed
