"""One-line texts, bodies and custom headers as clients send them: checked, so that none can pass for another header.

How they are written into a message is left to `mime_headers`.
"""

import re
from collections.abc import Iterable

from postroom.errors import InvalidInput
from postroom.mail import characters, lines, mime_headers

MAX_HEADERS = 50
MAX_NAME = 76  # characters, so that name and colon leave room for a value on the same line
MAX_VALUE = 8_192  # octets of UTF-8; a value is folded, so the limit of 998 per line (RFC 5322 §2.1.1) does not apply

_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 §3.6.8: printable ASCII without the colon

_RESERVED = re.compile(
    "from|to|cc|bcc|subject|reply-to|sender|date|message-id|mime-version|content-.*|resent-.*|return-path|received"
    "|dkim-signature",
    re.IGNORECASE,
)

_STRUCTURED = re.compile(  # addresses and ids in angle brackets, in which nothing may be encoded (RFC 2047 §5)
    "list-.*|references|in-reply-to|.*-message-id|archived-at", re.IGNORECASE
)

_BRACKETED = re.compile("<[^<>]*>")


def clean(pairs: Iterable[tuple[str, str]], *, member: str) -> tuple[tuple[str, str], ...]:
    """Checks custom headers and leaves out, silently, those that Postroom writes itself.

    Mail libraries pass the message's own headers along, so that reserved ones are no mistake. Raises `InvalidInput` for
    a name or value that cannot stand in a message, and for more than 50 headers.
    """
    kept: list[tuple[str, str]] = []
    for name, value in pairs:
        if not _NAME.fullmatch(name):
            problem = f"has a header name that is not 1 to {MAX_NAME} printable ASCII characters without colon"
            raise InvalidInput(member, problem)
        if _RESERVED.fullmatch(name):
            continue
        if len(kept) == MAX_HEADERS:
            raise InvalidInput(member, f"has more than {MAX_HEADERS} headers")
        kept.append((name, _value(name, value, f"{member}.{name}")))
    return tuple(kept)


def may_be_custom(name: str) -> bool:
    """Whether a header of this name may come from a client."""
    return _NAME.fullmatch(name) is not None and not _RESERVED.fullmatch(name)


def check_text(value: str, *, member: str, limit: int) -> str:
    """Returns a one-line text, such as a subject, of at most `limit` characters; it may be empty."""
    if len(value) > limit:
        raise InvalidInput(member, f"is longer than {limit} characters")
    if not (value.isascii() and value.isprintable()) and characters.LINE_BREAKING.search(value):
        raise InvalidInput(member, "holds a line break or another control character")
    return value


def check_body(value: str, *, member: str, limit: int) -> str:
    """Returns a body of at most `limit` octets of UTF-8. Any mix of CR, LF and CRLF is fine, NUL is not."""
    try:
        size = len(value) if value.isascii() or len(value) > limit else len(value.encode())
    except UnicodeEncodeError:
        raise InvalidInput(member, "holds half a surrogate pair, which is no character") from None
    if size > limit:
        raise InvalidInput(member, f"is longer than {limit} octets")
    if "\0" in value:
        raise InvalidInput(member, "holds a NUL character")
    return value


def _value(name: str, value: str, member: str) -> str:
    text = check_text(value, member=member, limit=MAX_VALUE).strip(" \t")
    if len(text.encode()) > MAX_VALUE:
        raise InvalidInput(member, f"is longer than {MAX_VALUE} octets")
    if _STRUCTURED.fullmatch(name):
        _check_structured(name, text, member)
    return text


def _check_structured(name: str, text: str, member: str) -> None:
    if not mime_headers.fits(name, text):
        problem = f"has a part without spaces that does not fit on a line of {lines.LONGEST} octets: shorten it"
        raise InvalidInput(member, problem)
    if not "".join(_BRACKETED.findall(text)).isascii():
        raise InvalidInput(member, "has characters other than ASCII in angle brackets: percent-encode them")
