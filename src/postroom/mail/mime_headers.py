"""Header fields of a message, as text with CRLF (RFC 5322, 2047, 2231): encoded, quoted and folded where they need it.

Every value is checked once more: what could start another field raises `ValueError`, whoever let it in.
"""

import functools
import itertools
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from postroom.mail import characters, encoded_word, lines
from postroom.mail.email import Address

FOLD_AT = 78  # RFC 5322 §2.1.1: should
FOLD_ENCODED_AT = 76  # lines with an encoded word (RFC 2047 §2: must)

_ADDR = re.compile(r'[^\x00-\x20\x7f-\xa0()<>\[\]:;,\\"@\ud800-\udfff]+@[A-Za-z0-9.-]+')
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]+>")
_ANGLED = re.compile(r"(?:<[!-;=?-~]{1,900}>,?)+")
_LONE_SPACE = re.compile(r"(?<![ \t]) (?![ \t])")  # the only places where folding changes nothing for any reader
_SURE_FILENAME = re.compile(r"[A-Za-z0-9 ._()+@,-]{1,255}")  # what every parser reads alike inside quotation marks
_DOUBTFUL = re.compile(r"[^A-Za-z0-9 ._()+@,-]")
_LONGEST_ON_A_LINE = 60  # characters of a name; longer ones become encoded words, which can be folded
_LEAST_ROOM = 28  # characters for an encoded word after a very long header name
_PARAMETER_ROOM = 55


def text(name: str, value: str) -> str:
    """An unstructured field, such as Subject; a reader gets back exactly the value, spaces at its ends included."""
    plain = value.isascii() and value.isprintable() and "=?" not in value and value.strip(" ") == value
    if plain and len(name) + len(value) < FOLD_AT - 1:
        return f"{name}: {value}\r\n"
    if characters.LINE_BREAKING.search(value):
        raise ValueError(f"{name} holds a control character")
    if _must_encode(value) or not fits(name, value):
        words = _encoded(value, room=max(_LEAST_ROOM, FOLD_AT - 2 - len(name) - 2))
    else:
        words = _LONE_SPACE.split(value)
    return _fold(name, words)


def fits(name: str, value: str) -> bool:
    """Whether each word of a value has room on a line; a longer one travels as encoded words."""
    return len(name) + 2 + max(len(word.encode()) for word in _LONE_SPACE.split(value)) <= lines.LONGEST


def mailboxes(name: str, addresses: Sequence[Address]) -> str:
    """An address field, folded between addresses."""
    words: list[str] = []
    for address in addresses:
        addr = _checked_addr(address.addr)
        if address.name:
            words += _phrase(address.name)
            words.append(f"<{addr}>,")
        else:
            words.append(f"{addr},")
    words[-1] = words[-1][:-1]
    return _fold(name, words)


@functools.lru_cache(maxsize=256)
def sender(name: str, addr: str) -> str:
    """The From field. Remembered, for an application writes as few."""
    return mailboxes("From", (Address(addr, name),))


def date(moment: datetime) -> str:
    """The Date field (RFC 5322 §3.3), in UTC and whatever the locale."""
    return _date(int(moment.timestamp()))


@functools.lru_cache(maxsize=64)
def _date(second: int) -> str:
    """Emails that leave together were mostly accepted together."""
    return f"Date: {format_datetime(datetime.fromtimestamp(second, UTC))}\r\n"


def message_id(name: str, value: str) -> str:
    """Message-ID or Content-ID: one id in angle brackets."""
    if not _MESSAGE_ID.fullmatch(value):
        raise ValueError(f"{name} is malformed")
    return f"{name}: {value}\r\n"


def content_type(value: str, filename: str | None) -> str:
    """Content-Type of an attachment. A file name that needs RFC 2231 is also given here, reduced to ASCII, for readers
    older than that; in Content-Disposition some parsers would take the reduced one for the real one."""
    if not (value.isascii() and value.isprintable()):
        raise ValueError("Content-Type is malformed")
    if not filename or _SURE_FILENAME.fullmatch(filename) or "name=" in value.lower():
        return f"Content-Type: {value}\r\n"
    return f'Content-Type: {value};\r\n name="{_DOUBTFUL.sub("_", filename)}"\r\n'


def disposition(kind: str, filename: str | None) -> str:
    """Content-Disposition (RFC 2183), `inline` or `attachment`; long and non-ASCII file names as RFC 2231 says."""
    if not filename:
        return f"Content-Disposition: {kind}\r\n"
    if _SURE_FILENAME.fullmatch(filename):
        return f'Content-Disposition: {kind};\r\n filename="{filename}"\r\n'
    pieces = encoded_word.pack((quote(char, safe="!#$&+-.^_`{|}~") for char in filename), _PARAMETER_ROOM)
    pieces[0] = f"UTF-8''{pieces[0]}"
    names = ["filename*"] if len(pieces) == 1 else [f"filename*{number}*" for number in range(len(pieces))]
    parameters = "".join(f";\r\n {name}={piece}" for name, piece in zip(names, pieces, strict=True))
    return f"Content-Disposition: {kind}{parameters}\r\n"


def _must_encode(value: str) -> bool:
    return not value.isascii() or value.strip() != value or encoded_word.looks_encoded(value)


def _encoded(value: str, *, room: int) -> list[str]:
    """As encoded words, but for ids and addresses in angle brackets, for which the readers of List-Id and the like look
    (RFC 2919 §3, RFC 2047 §5)."""
    if value.strip(" ") != value:
        return encoded_word.encode(value, room=room)
    words: list[str] = []
    for is_angled, group in itertools.groupby(_LONE_SPACE.split(value), _is_angled):
        run = " ".join(group)
        words += run.split(" ") if is_angled else encoded_word.encode(run, room=room)
    return words


def _is_angled(word: str) -> bool:
    return len(word) <= lines.LONGEST and bool(_ANGLED.fullmatch(word)) and not encoded_word.looks_encoded(word)


def _phrase(name: str) -> list[str]:
    """A display name: as it is, as a quoted string, or as encoded words, which may be folded apart."""
    if len(name) <= _LONGEST_ON_A_LINE and "=?" not in name and name.isascii() and name.isprintable():
        if _ATOMS.fullmatch(name):
            return [name]
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return [f'"{escaped}"']
    if characters.LINE_BREAKING.search(name):
        raise ValueError("a name holds a control character")
    return encoded_word.encode(name, room=FOLD_AT - 2 - len("Reply-To: "))


def _checked_addr(addr: str) -> str:
    if not _ADDR.fullmatch(addr):
        raise ValueError("an address is malformed")
    return addr


def _fold(name: str, words: Sequence[str]) -> str:
    """Joins words by spaces, breaking lines before the limit. Never right after the colon: some readers would take the
    fold for a space that belongs to the value."""
    whole = f"{name}: {' '.join(words)}\r\n"
    limit = FOLD_ENCODED_AT if "=?" in whole else FOLD_AT
    if len(whole) <= limit + 2:
        return whole
    folded: list[str] = []
    line = f"{name}: {words[0]}"
    for word in words[1:]:
        if len(line) + 1 + len(word) > limit:
            folded.append(line)
            line = ""
        line += f" {word}"
    return "\r\n".join((*folded, line)) + "\r\n"
