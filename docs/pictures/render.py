"""Draws each `*.dot` here as an SVG with Graphviz, for light and dark pages; marks it with the hash of its sources.

A test compares that hash with the sources, so that a picture cannot fall behind where Graphviz is not installed.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
STYLE = HERE / "style.css"


def main() -> None:
    """Draws them all."""
    if shutil.which("dot") is None:
        sys.exit("`dot` is missing: install Graphviz (Debian and Ubuntu: apt-get install graphviz)")
    for source in sorted(HERE.glob("*.dot")):
        drawn = subprocess.run(["dot", "-Tsvg", source], check=True, capture_output=True, text=True).stdout
        source.with_suffix(".svg").write_text(finished(drawn, source), encoding="utf-8")


def finished(drawn: str, source: Path) -> str:
    """Graphviz's drawing on a card of its own, with our colours and the mark."""
    mark = hashlib.sha256(source.read_bytes() + STYLE.read_bytes()).hexdigest()
    width, height = re.findall(r'viewBox="0\.00 0\.00 ([\d.]+) ([\d.]+)"', drawn)[0]
    card = f'<rect class="card" x="0.5" y="0.5" width="{float(width) - 1:g}" height="{float(height) - 1:g}" rx="8"/>'
    style = f"<!-- source sha256 {mark} -->\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n{card}\n"
    start = drawn.index('<g id="graph0"')
    head = re.sub(r"<!DOCTYPE[^>]*>\n", "", drawn[:start])
    return head + style + drawn[start:]


if __name__ == "__main__":
    main()
