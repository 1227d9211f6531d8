"""Reads SMTP replies (RFC 5321 §4.2) out of bytes that come in pieces. Everything that a relay says is untrusted."""

import functools
import re
from typing import NamedTuple

from postroom.mail.outcome import Reply

LONGEST_LINE = 2048
MOST_LINES = 100
LONGEST_TEXT = 500
_WORTH_REMEMBERING = 512

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\n]*)|\r?)\n")
_ENHANCED = re.compile(rb"(([245])\.[0-9]{1,3}\.[0-9]{1,3})(?=\s|$)")


class RawReply(NamedTuple):
    """One whole reply as it came: its code and the text of each line."""

    code: int
    lines: tuple[bytes, ...]


class ReplyReader:
    """Takes bytes in, gives whole replies out, in order. Once `garbage` names a problem, nothing more comes out."""

    __slots__ = ("_buffer", "_code", "_lines", "garbage")

    def __init__(self) -> None:
        self.garbage: str | None = None
        self._buffer = b""
        self._code = 0
        self._lines: list[bytes] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left over, not even half a reply."""
        return not self._buffer and not self._lines and self.garbage is None

    def feed(self, data: bytes) -> tuple[RawReply, ...]:
        """Adds bytes that came in; returns the replies that are whole now."""
        if len(data) <= _WORTH_REMEMBERING and self.is_empty and (replies := _whole_replies(data)) is not None:
            return replies
        return self.parse(data)

    def parse(self, data: bytes) -> tuple[RawReply, ...]:
        """What `feed` does, without looking whether the same has been read before."""
        buffer = self._buffer + data if self._buffer else data
        replies: list[RawReply] = []
        end = 0
        for line in _LINE.finditer(buffer):
            if line.start() != end or self.garbage:
                break
            end = line.end()
            code, mark, text = line.groups(b"")
            self._add(int(code), text.rstrip(b"\r"), replies, is_last=mark != b"-")
        self._buffer = rest = buffer[end:]
        if not self.garbage and (b"\n" in rest or len(rest) > LONGEST_LINE):
            self.garbage = "the relay answered with something that is no SMTP reply"
        return tuple(replies)

    def clear(self) -> None:
        """Forgets what was fed: at STARTTLS it came from nobody known (RFC 3207 §6)."""
        self._buffer = b""
        self._lines = []
        self.garbage = None

    def _add(self, code: int, text: bytes, replies: list[RawReply], *, is_last: bool) -> None:
        lines = self._lines
        if lines and code != self._code:
            self.garbage = "the relay changed the code in the middle of a reply"
        elif len(lines) >= MOST_LINES or len(text) > LONGEST_LINE:
            self.garbage = "the relay's reply is longer than any reply should be"
        elif not is_last:
            self._code = code
            lines.append(text)
        else:
            replies.append(RawReply(code, (*lines, text)))
            self._lines = []


@functools.lru_cache(maxsize=64)
def _whole_replies(data: bytes) -> tuple[RawReply, ...] | None:
    """Relays say the same few things over and over, and reading them was the largest cost of an email."""
    reader = ReplyReader()
    replies = reader.parse(data)
    return replies if reader.is_empty else None


def of(raw: RawReply) -> Reply:
    """The reply as it is kept: enhanced code (RFC 2034) apart, lines joined, harmless to show, at most 500
    characters."""
    code, lines = raw
    found = _ENHANCED.match(lines[0])
    if found is None or int(found[2]) != code // 100:
        return Reply(code=code, enhanced=None, text=_text(b" ".join(lines)))
    enhanced = found[1]
    text = lines[0][found.end() :].lstrip(b" ")
    for line in lines[1:]:
        text += b" " + line.removeprefix(enhanced).lstrip(b" ")
    return Reply(code=code, enhanced=enhanced.decode(), text=_text(text))


def in_one_line(reply: Reply) -> str:
    """The reply in one line for people."""
    enhanced = f" {reply.enhanced}" if reply.enhanced else ""
    return f"{reply.code}{enhanced} {reply.text}" if reply.text else f"{reply.code}{enhanced}"


def _text(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace")
    if not text.isprintable():
        text = "".join(c for c in text.replace("\t", " ") if c.isprintable())
    return text[:LONGEST_TEXT]
