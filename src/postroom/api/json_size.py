"""How many values a JSON body becomes, found out before any of them is made: each is twenty times as large as it is
written. Texts and lists of octets may be long, for bodies and attachments are."""

import re

_FEW = 200_000  # values, which no memory is afraid of
_BETWEEN = (b",", b":", b"[", b"{")
_SLICE = 128 * 1024  # bytes looked at without a pause, for others wait meanwhile

_TEXT_OR_OCTET = re.compile(rb'"[^"]*+"|[0-9]{1,3}[,\s]+')


def is_sane(body: bytes, most: int) -> bool:
    """Whether at most so many bytes stand beside texts and octets; a few values are always fine."""
    if len(body) <= most or sum(map(body.count, _BETWEEN)) <= _FEW:
        return True
    between, at, in_text = 0, 0, False
    while at < len(body) and between <= most:
        piece = _slice(body, at)
        at += len(piece)
        piece = piece.replace(rb"\\", b"").replace(rb"\"", b"")  # what is left of quotation marks begins or ends a text
        if in_text:
            _, end, piece = piece.partition(b'"')
            if not end:
                continue
        between_texts, begin, _ = _TEXT_OR_OCTET.sub(b"", piece).partition(b'"')
        between += len(between_texts)
        in_text = bool(begin)
    return between <= most


def _slice(body: bytes, at: int) -> bytes:
    """The next slice, which does not end between a backslash and what it escapes."""
    piece = body[at : at + _SLICE]
    backslashes = len(piece) - len(piece.rstrip(b"\\"))
    return piece[:-1] if backslashes % 2 and len(piece) > 1 else piece
