"""The pictures in the documentation are drawn from the sources beside them, as `make pictures` left them."""

import hashlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).parents[2] / "docs"
STYLE = DOCS / "pictures" / "style.css"
SOURCES = sorted((DOCS / "pictures").glob("*.dot"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_picture_is_in_step_with_its_source(source: Path) -> None:
    drawn = source.with_suffix(".svg").read_text(encoding="utf-8")
    assert re.findall("<!-- source sha256 (.*) -->", drawn) == [
        hashlib.sha256(source.read_bytes() + STYLE.read_bytes()).hexdigest()
    ], "run `make pictures`"
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_picture_is_shown_somewhere(source: Path) -> None:
    pages = [*DOCS.glob("*.md"), DOCS.parent / "README.md"]
    assert any(f"pictures/{source.stem}.svg" in page.read_text(encoding="utf-8") for page in pages)
