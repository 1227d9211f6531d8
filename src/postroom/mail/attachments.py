"""Attachments as clients send them: decoded, measured and described (RFC 2045, 2183, 2392).

Fetching and storing is left to others; how a part is written, to `mime`.
"""

import binascii
import mimetypes
import re
from typing import NamedTuple

from postroom.errors import InvalidAttachment
from postroom.mail import characters
from postroom.mail.email import Attachment

MAX_FILENAME = 255  # characters
MAX_CONTENT_TYPE = 255  # characters
MAX_CONTENT_ID = 127  # characters
OCTETS = "application/octet-stream"

_WORD = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]++"  # RFC 2045 §5.1
_PARAMETER = rf'[ ]*;[ ]*{_WORD}=(?:{_WORD}|"(?:[ !#-\[\]-~]|\\[ -~])*+")'
_CONTENT_TYPE = re.compile(rf"({_WORD}/{_WORD})((?:{_PARAMETER})*+)[ ]*;?[ ]*")
_PARAMETERS = re.compile(_PARAMETER)
_CHARSET = re.compile(r"[ ]*;[ ]*charset[*=]", re.IGNORECASE)
_LIKE_BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}=*|[A-Za-z0-9+/]+=+")  # padded, or too long for one word
_DATA_URL = re.compile(r"\s*data:[^\s,]*,", re.IGNORECASE)
_CONTENT_ID = re.compile(r"[!-;=?-~]{1,127}")
_TYPES = mimetypes.MimeTypes()
_TYPES_MISSING = {  # in common use, but not in the tables of every supported Python
    ".7z": "application/x-7z-compressed",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".ics": "text/calendar",
    ".md": "text/markdown",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rtf": "application/rtf",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
for _ending, _type in _TYPES_MISSING.items():
    _TYPES.add_type(_type, _ending)
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


class Content(NamedTuple):
    """What was attached. `is_utf8`: it came as plain text, so that it is in UTF-8 whatever its sender says."""

    octets: bytes
    is_utf8: bool = False


def decode(content: str | list[int], *, content_type: str | None, member: str, limit: int) -> Content:
    """What a `content` member holds: base64 text, a list of octets, or, where the declared type is text/*, plain text
    that does not look like spoilt base64.

    Raises `InvalidAttachment` when it is none of these, empty, or larger than `limit` octets (judged before decoding).
    """
    if isinstance(content, list):
        found = Content(_from_octets(content, member, limit))
    else:
        found = _from_text(content, content_type, member, limit)
    if not found.octets:
        raise InvalidAttachment(member, "is empty")
    return found


def describe(
    *,
    filename: str | None,
    content_type: str | None,
    content_id: str | None,
    content: bytes,
    is_utf8: bool = False,
    member: str,
) -> Attachment:
    """The attachment with its file name cut to the last path segment and its type checked, or guessed from the name;
    `is_utf8` gives the type that charset in place of its own."""
    name = _filename(filename or "", f"{member}.filename")
    kind = _checked_type(content_type, f"{member}.content_type") if content_type else _guessed_type(name or "")
    return Attachment(
        filename=name,
        content_type=_in_utf8(kind) if is_utf8 else kind,
        content_id=_checked_id(content_id, f"{member}.content_id") if content_id else None,
        size=len(content),
        content=content,
    )


def _from_octets(content: list[int], member: str, limit: int) -> bytes:
    _check_size(len(content), member, limit)
    try:
        if set(map(type, content)) <= {int}:  # bytes() would take true for 1
            return bytes(content)
    except ValueError:
        pass
    raise InvalidAttachment(member, "is a list that holds something other than whole numbers from 0 to 255")


def _from_text(content: str, content_type: str | None, member: str, limit: int) -> Content:
    joined = content.replace("\r", "").replace("\n", "")
    _check_size(len(joined) // 4 * 3 - joined.count("=", -2), member, limit)
    try:
        if len(joined) % 4 == 0:  # strict mode lets surplus padding pass
            return Content(binascii.a2b_base64(joined, strict_mode=True))
    except ValueError:
        pass
    if (content_type or "").lower().lstrip().startswith("text/") and not _is_meant_as_base64(joined):
        return Content(_plain_text(content, member, limit), is_utf8=True)
    raise InvalidAttachment(member, "is not valid base64 (standard alphabet, with padding, without data: prefix)")


def _is_meant_as_base64(joined: str) -> bool:
    """Whether this is more likely spoilt base64 than text: its reader would find gibberish."""
    return bool(_LIKE_BASE64.fullmatch(joined) or _DATA_URL.match(joined))


def _plain_text(content: str, member: str, limit: int) -> bytes:
    try:
        data = content.encode()
    except UnicodeEncodeError:
        raise InvalidAttachment(member, "holds half a surrogate pair, which is no character") from None
    _check_size(len(data), member, limit)
    return data


def _check_size(size: int, member: str, limit: int) -> None:
    if size > limit:
        raise InvalidAttachment(member, f"is larger than {limit} octets")


def _filename(written: str, member: str) -> str | None:
    name = written.replace("\\", "/").rpartition("/")[2].strip(" ")
    if characters.DECEIVING.search(written):
        raise InvalidAttachment(member, "holds a control character")
    if len(name) > MAX_FILENAME:
        raise InvalidAttachment(member, f"is longer than {MAX_FILENAME} characters")
    return None if name in ("", ".", "..") else name


def _checked_type(written: str, member: str) -> str:
    found = _CONTENT_TYPE.fullmatch(written.strip(" ")) if len(written) <= MAX_CONTENT_TYPE else None
    if found is None:
        raise InvalidAttachment(member, "is not a content type such as text/plain; charset=utf-8 (RFC 2045)")
    kind = found[1].lower()
    if _is_composite(kind):
        raise InvalidAttachment(member, "is a multipart or message type, which cannot be attached")
    return kind + found[2]


def _in_utf8(kind: str) -> str:
    name, mark, parameters = kind.partition(";")
    others = [one for one in _PARAMETERS.findall(mark + parameters) if not _CHARSET.match(one)]
    return f"{name.rstrip(' ')}{''.join(others)}; charset=utf-8"


def _guessed_type(filename: str) -> str:
    """By the endings alone: `guess_type` takes what looks like a URL for one, and believes a type inside `data:`."""
    endings = filename.split(".")[1:][-2:]
    kind, compression = _TYPES.guess_type(".".join(("x", *endings)))
    if compression:
        return _COMPRESSED.get(compression, OCTETS)
    return OCTETS if kind is None or _is_composite(kind) else kind


def _is_composite(kind: str) -> bool:
    return kind.startswith(("multipart/", "message/"))


def _checked_id(written: str, member: str) -> str:
    if not _CONTENT_ID.fullmatch(written):
        problem = f"is not 1 to {MAX_CONTENT_ID} printable ASCII characters without spaces and angle brackets"
        raise InvalidAttachment(member, problem)
    return written
