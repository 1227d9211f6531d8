"""Writes SMTP command lines: the only place where text becomes a command, so that no address can smuggle in another."""

import base64

from postroom.mail import characters, lines

LONGEST_LINE = 1000
LONGEST_AUTH = 512  # with an initial response, for which there is no longer line than for other commands (RFC 4954 §4)
LONGEST_ANSWER = 12_288  # to a challenge of AUTH (RFC 4954 §4)
DATA = b"DATA\r\n"
RSET = b"RSET\r\n"
QUIT = b"QUIT\r\n"
DOT = b".\r\n"


def line(verb: str, *arguments: str, longest: int = LONGEST_LINE) -> bytes:
    """One command line. Raises `ValueError`, without repeating the argument, where one holds a space, a control or any
    other invisible character but for joiners, a lone surrogate, or is too long."""
    text = " ".join((verb, *arguments))
    if text.count(" ") != len(arguments) or not (text.isprintable() or _is_printable_but_for_joiners(text)):
        raise ValueError(f"not sent: a space or control character in an argument of {verb}")
    written = text.encode("utf-8") + b"\r\n"
    if len(written) > longest:
        raise ValueError(f"not sent: an argument of {verb} is too long")
    return written


def _is_printable_but_for_joiners(text: str) -> bool:
    return text.translate(characters.JOINERS).isprintable()


def path(prefix: str, address: str, *, smtputf8: bool) -> str:
    """An address as MAIL and RCPT take it, such as `TO:<a@b.example>`. Raises `ValueError` for what is none."""
    if "<" in address or ">" in address:
        raise ValueError("not sent: an angle bracket in an address")
    if not smtputf8 and not address.isascii():
        raise ValueError("not sent: an address that is not ASCII, in an email that is not marked as SMTPUTF8")
    return f"{prefix}:<{address}>"


def base64_of(text: str) -> str:
    """How AUTH carries a user name or password."""
    return base64.b64encode(text.encode()).decode("ascii")


def plain(username: str, password: str) -> str:
    """The initial response of AUTH PLAIN (RFC 4616)."""
    return base64_of(f"\0{username}\0{password}")


def answer(challenged: str) -> bytes:
    """The answer to a challenge of AUTH, already in base64, as a whole line."""
    return line(challenged, longest=LONGEST_ANSWER)


def content(data: bytes) -> bytes:
    """The message as DATA carries it: ended by CRLF and dot-stuffed (RFC 5321 §4.5.2), without the final dot.

    Raises `ValueError` for a bare CR, a bare LF or a NUL: relays differ in where they would see the message end.
    """
    if not data.endswith(b"\r\n"):
        data += b"\r\n"
    if lines.are_unsafe(data):
        raise ValueError("not sent: a bare CR, a bare LF or a NUL in the message")
    data = data.replace(b"\r\n.", b"\r\n..")
    return b"." + data if data.startswith(b".") else data
