"""Reads a request body as JSON with one meaning only (RFC 8259 and RFC 7493), whatever a client sends.

What json.loads lets pass is refused here: duplicate members, NaN and infinities, integers that no database holds, NUL,
halves of surrogate pairs, deep nesting. Problems name a place, never a content.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import NoReturn

import orjson

from postroom.api import json_size
from postroom.errors import InvalidInput
from postroom.mail.email import Json

INT64 = range(-(2**63), 2**63)

MOST_BETWEEN = 1_000_000  # bytes beside texts and octets; a hundred emails with all that they may have need a fifth

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONG_NUMBER = b"0" * 19  # the fewest digits that can leave the range of 64 bits
_DIGITS = bytes(ord("0") if chr(i) in "0123456789" else ord(".") for i in range(256))


_PLAIN_DEPTH = 3  # a list of objects with lists


class JsonFloat(float):
    """A number written with fraction or exponent; `canonical` tells 1.0 and 1 to be the same value by it."""

    __slots__ = ()


def parse(body: bytes, *, max_depth: int) -> Json:
    """The value of a whole body. Raises `InvalidInput` with one clear sentence."""
    if len(body) > MOST_BETWEEN and not json_size.is_sane(body, MOST_BETWEEN):
        _refuse("the body holds too many values")
    plain = _plain(body) if max_depth >= _PLAIN_DEPTH else None
    return _parse_carefully(body, max_depth) if plain is None else plain


def _plain(body: bytes) -> Json:
    """What nearly everybody sends, read fast: an object, or a list of objects, with nothing in them but texts and lists
    of texts. None when it is something else, or may hold what must be refused; only the careful way knows."""
    if b"\\" in body and b"\\u" in body:
        return None
    try:
        value: Json = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    colons = 0
    for one in value if type(value) is list else (value,):
        if type(one) is not dict:
            return None
        colons += len(one) + "".join(one).count(":")
        for member in one.values():
            if type(member) is str:
                colons += member.count(":")
            elif type(member) is list and all(type(text) is str for text in member):
                colons += "".join(member).count(":")  # type: ignore[arg-type]  # all texts
            elif member is not None:
                return None
    # A colon is part of a text or follows a name: one that is in neither followed a name that was given twice.
    return value if body.count(b":") == colons else None


def _parse_carefully(body: bytes, max_depth: int) -> Json:
    try:
        value: Json = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        _refuse(f"the body is not UTF-8 (at byte {error.start})")
    except json.JSONDecodeError as error:
        _refuse("the body is empty" if not body.strip() else f"the body is not JSON (at character {error.pos})")
    except RecursionError:
        _refuse(f"the body is nested deeper than {max_depth} levels")
    except ValueError:  # Python's own limit of 4,300 digits
        _refuse("the body holds a number that is out of range")
    if b"\\u" in body or body.count(b"[") + body.count(b"{") > max_depth or _LONG_NUMBER in body.translate(_DIGITS):
        _check_all(value, max_depth)
    return value


def _check_all(value: Json, max_depth: int) -> None:
    """Looks at everything; only bodies in which there may be something to find come here."""
    level: list[Json] = [value]
    for _ in range(max_depth + 1):
        containers = [one for one in level if isinstance(one, dict | list)]
        for one in level:
            _check_scalar(one)
        if not containers:
            return
        level = [member for one in containers for member in _members(one)]
    _refuse(f"the body is nested deeper than {max_depth} levels")


def _members(container: dict[str, Json] | list[Json]) -> Iterable[Json]:
    """What it holds, names included; small whole numbers are left out, for an attachment may come as a long list."""
    if isinstance(container, list):
        return [one for one in container if type(one) is not int or one not in INT64]
    return chain(container, container.values())


def _check_scalar(one: Json) -> None:
    if isinstance(one, str):
        if "\0" in one:
            _refuse("the body holds a NUL character")
        if not one.isascii() and _SURROGATE.search(one):
            _refuse("the body holds half a surrogate pair, which is no character")
    elif isinstance(one, int) and one not in INT64:
        _refuse("the body holds a number that is out of range")


def _unique(members: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(members)
    if len(found) != len(members):
        twice = next(name for name, count in Counter(name for name, _ in members).items() if count > 1)
        _refuse(f"the member {twice} is given twice" if _NAME.fullmatch(twice) else "a member is given twice")
    return found


def _finite(text: str) -> float:
    number = JsonFloat(text)
    if math.isinf(number):
        _refuse("the body holds a number that is out of range")
    return number


def _refuse_constant(text: str) -> NoReturn:
    _refuse("the body holds NaN or Infinity, which JSON does not have")


def _refuse(problem: str) -> NoReturn:
    raise InvalidInput("", problem)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant)
