"""The parts of a message as octets (RFC 2045, 2046, 2387): a part is its Content-* fields, a blank line, its body."""

import binascii
import re
from collections.abc import Sequence

from postroom.mail import lines, mime_headers
from postroom.mail.email import Attachment

_ASCII = bytes(range(128))
_BLANK_AT_END = re.compile(rb"=(?:20|09)(?:\n|\Z)")
_BLANK_TOO_FAR = re.compile(rb"^([^\n]{74,})(=(?:20|09))$", re.MULTILINE)
_MOSTLY_ASCII = 1 / 3  # of the octets may be others: all of Latin script stays readable in the source, no other does


def text(subtype: str, content: str, *, boundary_stem: str | None = None) -> bytes:
    """A text/plain or text/html part in UTF-8, any mix of CR, LF and CRLF becoming CRLF.

    7bit where lines and characters allow it and, in a multipart, no line could pass for a boundary; `=_`, with which
    boundaries begin, cannot occur in quoted-printable and base64 (RFC 2045 §6.7).
    """
    written = content.replace("\r\n", "\n").replace("\r", "\n") if "\r" in content else content
    confusing = boundary_stem is not None and boundary_stem in written
    if written.isascii() and not confusing and not lines.are_too_long(written, "\n"):
        encoding, body = "7bit", written.replace("\n", "\r\n").encode("ascii")
    else:
        encoding, body = _encode(written)
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode("ascii") + body


def attachment(described: Attachment, content: bytes) -> bytes:
    """An attachment, always base64; inline if it has a content id (RFC 2392)."""
    head = mime_headers.content_type(described.content_type, described.filename)
    head += "Content-Transfer-Encoding: base64\r\n"
    if described.content_id is not None:
        head += mime_headers.message_id("Content-ID", f"<{described.content_id}>")
    head += mime_headers.disposition("attachment" if described.content_id is None else "inline", described.filename)
    return f"{head}\r\n".encode("ascii") + _base64(content)


def multipart(subtype: str, parts: Sequence[bytes], *, boundary: str) -> bytes:
    """A multipart; `subtype` may bring parameters. The CRLF before a boundary is the boundary's, so that bodies stay as
    they are (RFC 2046 §5.1.1)."""
    opening = f"--{boundary}\r\n".encode("ascii")
    head = f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"\r\n\r\n'.encode("ascii")
    return b"".join((head, *(piece for part in parts for piece in (opening, part, b"\r\n")), opening[:-2], b"--\r\n"))


def _encode(written: str) -> tuple[str, bytes]:
    data = written.encode()
    beyond_ascii = len(data.translate(None, _ASCII))
    if beyond_ascii <= len(data) * _MOSTLY_ASCII:
        return "quoted-printable", _quoted_printable(data).replace(b"\n", b"\r\n")
    return "base64", _base64(data.replace(b"\n", b"\r\n"))


def _quoted_printable(data: bytes) -> bytes:
    """With lines of at most 76 characters (RFC 2045 §6.7): `b2a_qp` counts a blank at the end of a line as one, though
    it writes three."""
    quoted = binascii.b2a_qp(data, istext=True)
    return _BLANK_TOO_FAR.sub(rb"\1=\n\2", quoted) if _BLANK_AT_END.search(quoted) else quoted


def _base64(data: bytes) -> bytes:
    encoded = binascii.b2a_base64(data, newline=False)
    return b"".join(encoded[start : start + 76] + b"\r\n" for start in range(0, len(encoded), 76))
