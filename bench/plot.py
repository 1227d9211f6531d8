"""Bars as SVG, written by hand: a plot of a dozen bars is no reason for a plotting library."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, BAR, GAP, TITLE = 860, 170, 110, 18, 8, 34
OURS, OTHERS, INK, RULE = "#2463a8", "#9aa4af", "#24292f", "#d0d7de"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `ours` is drawn in another colour."""

    label: str
    value: float
    text: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars that share a scale, under a title."""

    title: str
    bars: Sequence[Bar]


def svg(panels: Sequence[Panel]) -> str:
    """The panels, one below the other."""
    parts, top = [], 10
    for panel in panels:
        parts += _panel(panel, top)
        top += TITLE + len(panel.bars) * (BAR + GAP) + 16
    style = f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}"'
    frame = f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" {style}>'
    )
    return "\n".join([head, frame, *parts, "</svg>"]) + "\n"


def _panel(panel: Panel, top: int) -> list[str]:
    most = max((bar.value for bar in panel.bars), default=0) or 1
    room, first = WIDTH - LEFT - RIGHT, top + TITLE
    last = first + len(panel.bars) * (BAR + GAP)
    parts = [
        f'<text x="12" y="{top + 18}" font-weight="600">{escape(panel.title)}</text>',
        f'<line x1="{LEFT}" y1="{first - 4}" x2="{LEFT}" y2="{last - 2}" stroke="{RULE}"/>',
    ]
    for place, bar in enumerate(panel.bars):
        y, length = first + place * (BAR + GAP), max(1.0, bar.value / most * room)
        colour = OURS if bar.ours else OTHERS
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
            f'<text x="{LEFT + length + 6:.1f}" y="{y + 14}">{escape(bar.text)}</text>',
        ]
    return parts
