"""Encoded words (RFC 2047): how text that is not plain ASCII travels in header fields, both ways."""

import binascii
import re
import string
from collections.abc import Iterable, Sequence
from typing import AnyStr

_OVERHEAD = len("=?utf-8?q??=")
_SAFE = frozenset(string.ascii_letters + string.digits + "!*+-/")  # RFC 2047 §5 (3), the strictest of its sets

_WORD = re.compile(r"=\?([^?\s*]{1,40})(?:\*[^?\s]{0,40})?\?([BbQq])\?([^?]*)\?=")
_GAP = re.compile(r"(?<=\?=)[ \t]+(?==\?[^?\s]{1,80}\?[BbQq]\?)")
_SUSPICIOUS = re.compile(r"=\?[^?]*\?[A-Za-z]\?")

_CHARSET = re.compile(  # codecs that turn octets into text and nothing else; `codecs.lookup` knows stranger ones
    r"utf-?8|(?:us-)?ascii|latin1|iso-8859-(?:[1-9]|1[013456])|windows-125[0-8]|koi8-[ru]|gb2312|gbk|gb18030|big5"
    r"|euc-(?:jp|kr)|shift_jis|iso-2022-jp",
    re.IGNORECASE,
)


def encode(text: str, *, room: int) -> list[str]:
    """The text as encoded words of at most `room` characters (at least 28, at most 75), none splitting a character.

    B or Q, whichever is shorter; a reader joins the words without the space between them. Of B words only the last is
    padded: some readers (GMime 3.2.13, older postal-mime) join them first, and lose what comes after the padding.
    """
    quoted = [_quote(char) for char in text]
    octets = [char.encode() for char in text]
    if sum(map(len, quoted)) <= (sum(map(len, octets)) + 2) // 3 * 4:
        return [_q(word) for word in pack(quoted, room - _OVERHEAD)]
    words: list[str] = []
    start = 0
    while start < len(octets):
        end = _end_without_padding(octets, start, (room - _OVERHEAD) // 4 * 3)
        if end > start:
            words.append(_b(b"".join(octets[start:end])))
        else:  # such as the `Re: ` before characters of three octets each
            end = _end_of_odd(octets, start, start + (room - _OVERHEAD) // len("=F0=9F=98=80"))
            words.append(_q("".join(quoted[start:end])))
        start = end
    return words


def decode(text: str) -> str:
    """Replaces the encoded words in a text. Raises `ValueError` if one cannot be decoded or holds another."""
    if "=?" not in text:
        return text
    decoded = _WORD.sub(_decode_one, _GAP.sub("", text))
    if _WORD.search(decoded):
        raise ValueError("an encoded word is left")
    return decoded


def looks_encoded(text: str) -> bool:
    """Whether some reader, strict or not, could take a part of this text for an encoded word."""
    return "=?" in text and _SUSPICIOUS.search(text) is not None


def pack(pieces: Iterable[AnyStr], limit: int) -> list[AnyStr]:
    """Joins neighbours into chunks of at most `limit`, never cutting a piece."""
    chunks: list[list[AnyStr]] = [[]]
    filled = 0
    for piece in pieces:
        if filled + len(piece) > limit:
            chunks.append([])
            filled = 0
        chunks[-1].append(piece)
        filled += len(piece)
    return [chunk[0][:0].join(chunk) for chunk in chunks if chunk]


def _end_without_padding(octets: Sequence[bytes], start: int, limit: int) -> int:
    """How far a B word may go: to the end, or to the last place where its octets are a multiple of three."""
    size, best = 0, start
    for i in range(start, len(octets)):
        size += len(octets[i])
        if size > limit:
            return best
        if size % 3 == 0:
            best = i + 1
    return len(octets)


def _end_of_odd(octets: Sequence[bytes], start: int, limit: int) -> int:
    """The end of those characters, at most up to `limit`, that are not of three octets."""
    return next((i for i in range(start, min(limit, len(octets))) if len(octets[i]) == 3), min(limit, len(octets)))


def _q(payload: str) -> str:
    return f"=?utf-8?q?{payload}?="


def _b(payload: bytes) -> str:
    return f"=?utf-8?b?{binascii.b2a_base64(payload, newline=False).decode()}?="


def _quote(char: str) -> str:
    if char in _SAFE:
        return char
    if char == " ":
        return "_"
    return "".join(f"={octet:02X}" for octet in char.encode())


def _decode_one(word: re.Match[str]) -> str:
    charset, encoding, payload = word.groups()
    if not _CHARSET.fullmatch(charset):
        raise ValueError("unknown charset")
    if encoding in "Qq":
        return binascii.a2b_qp(payload.encode("ascii"), header=True).decode(charset)
    padding = "=" * (-len(payload) % 4)
    return binascii.a2b_base64(payload + padding, strict_mode=True).decode(charset)
