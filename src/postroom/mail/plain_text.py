"""The plain-text side of an HTML email, for readers that show no HTML.

A scanner of its own, because the standard library's HTML parser takes a minute over 60 kB of hostile input on supported
Python versions (CVE-2025-6069). Here every pattern consumes what it has looked at, so that time grows with length only.
"""

import html
import re
from collections.abc import Callable, Mapping

LONGEST_SOURCE = 250_000  # characters; what lies beyond is not worth a worker's time

_TAG = re.compile(
    r"<(?:!--(?:-?>|(?s:.*?)(?:--!?>|\Z))"  # a comment; unclosed it runs to the end, as in browsers
    r"|(/?)([A-Za-z][^\s/>]*+)((?:[^>=]++|=\s*+(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z))?+)*+)(?:>|\Z)"
    r"|[!?/][^>]*+(?:>|\Z))"
)
_ATTRIBUTE = re.compile(r"([^\s=/]++)(?:\s*+=\s*+(?:\"([^\"]*+)|'([^']*+)|(\S++)))?")
_SPACE = re.compile(r"[ \t\n\r\f]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_LINKED = ("http://", "https://", "mailto:", "tel:")

_SILENT: Mapping[str, re.Pattern[str]] = {  # elements whose content is no text, and how they end
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("iframe", "noembed", "noframes", "script", "style", "template", "textarea", "title")
}
_BLOCK = re.compile(
    "address|article|aside|blockquote|center|dd|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|header|hr|li"
    "|main|nav|ol|p|pre|section|table|tbody|tfoot|thead|tr|ul"
)
_SET_APART = re.compile("p|h[1-6]|blockquote|table|ul|ol|pre")  # by a blank line


def from_html(source: str) -> str:
    """The text of an HTML document, blocks as lines and links as `text (url)`; '' when it has none. Never fails."""
    source = source[:LONGEST_SOURCE]
    page = _Page()
    position = 0
    while tag := _TAG.search(source, position):
        page.write(source[position : tag.start()])
        position = tag.end()
        name = (tag[2] or "").lower()
        if name in _SILENT and not tag[1]:
            end = _SILENT[name].search(source, position)
            position = end.start() if end else len(source)
        elif tag[1]:
            page.close(name)
        else:
            page.open(name, tag[3] or "")
    page.write(source[position:])
    return page.text()


class _Page:
    """The lines written so far, the line being written, and the link that it is inside of."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._link = ""
        self._link_start = 0
        self._verbatim = False

    def write(self, data: str) -> None:
        """Takes the text between two tags."""
        if not data:
            return
        shown = _unescape(data)
        if self._verbatim:
            *lines, shown = shown.replace("\r\n", "\n").replace(" ", "\xa0").split("\n")
            for line in lines:
                self._line.append(line)
                self._end_line(even_empty=True)
        self._line.append(shown)

    def open(self, name: str, attributes: str) -> None:
        """An element begins."""
        if _BLOCK.fullmatch(name):
            self._break(name)
        if opener := _OPENERS.get(name):
            opener(self, attributes)

    def close(self, name: str) -> None:
        """An element ends."""
        if _BLOCK.fullmatch(name):
            self._break(name)
        if name == "a":
            self._end_link()
        elif name == "pre":
            self._verbatim = False

    def text(self) -> str:
        """All of it, without blank lines at either end and with at most one in a row."""
        self._end_link()
        self._end_line()
        return _BLANK_LINES.sub("\n\n", "\n".join(self._lines)).replace("\xa0", " ").strip("\n")

    def begin_link(self, attributes: str) -> None:
        self._end_link()
        self._link = _attribute(attributes, "href")
        self._link_start = len(self._line)

    def _end_link(self) -> None:
        url, self._link = self._link, ""
        if not url.lower().startswith(_LINKED):
            return
        shown = "".join(self._line[self._link_start :]).strip()
        if not shown:
            self._line.append(f" {url} ")
        elif shown not in (url, url.partition(":")[2]):
            self._line.append(f" ({url})")

    def begin_item(self, attributes: str) -> None:
        self._line.append("- ")

    def begin_cell(self, attributes: str) -> None:
        self._line.append(" ")

    def begin_verbatim(self, attributes: str) -> None:
        self._verbatim = True

    def end_line(self, attributes: str) -> None:
        self._end_line(even_empty=True)

    def show_image(self, attributes: str) -> None:
        self._line.append(_attribute(attributes, "alt"))

    def _break(self, name: str) -> None:
        self._end_line()
        if _SET_APART.fullmatch(name):
            self._lines.append("")

    def _end_line(self, *, even_empty: bool = False) -> None:
        line = _SPACE.sub(" ", "".join(self._line)).strip(" ")
        if line or even_empty:
            self._lines.append(line)
        self._line.clear()
        self._link_start = 0


_OPENERS: Mapping[str, Callable[[_Page, str], None]] = {
    "a": _Page.begin_link,
    "br": _Page.end_line,
    "img": _Page.show_image,
    "li": _Page.begin_item,
    "pre": _Page.begin_verbatim,
    "td": _Page.begin_cell,
    "th": _Page.begin_cell,
}


def _attribute(attributes: str, wanted: str) -> str:
    for found in _ATTRIBUTE.finditer(attributes):
        if found[1].lower() == wanted:
            return _SPACE.sub(" ", _unescape(found[2] or found[3] or found[4] or "")).strip()
    return ""


def _unescape(data: str) -> str:
    try:
        return html.unescape(data)
    except ValueError:  # a character reference of more digits than int() takes
        return data
