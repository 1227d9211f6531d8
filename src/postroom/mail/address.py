"""Addresses as clients write them: parsed, checked and brought to one form (RFC 5321, 5322, 6531, 5891).

What a name looks like inside a message is left to `mime_headers`, decoding of encoded words to `encoded_word`.
"""

import re
import unicodedata

import idna

from postroom.errors import InvalidInput
from postroom.mail import characters, encoded_word
from postroom.mail.email import Address

MAX_NAME = 320  # characters
MAX_LOCAL, MAX_LABEL, MAX_DOMAIN, MAX_ADDR = 64, 63, 253, 254  # octets, RFC 5321 §4.5.3.1 and its erratum 1690
_MAX_TEXT = 5_000  # characters: the longest name, written as encoded words of four-octet characters, and an address

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_COMMON = re.compile(  # what nearly everybody sends: ASCII, no quotes; everything else takes the careful way
    r"(?:([A-Za-z0-9][A-Za-z0-9 .'_-]*+)<)?"
    r"([A-Za-z0-9!#$%&'*+/^_`{|}~-]++(?:\.[A-Za-z0-9!#$%&'*+/^_`{|}~-]++)*+)@"
    rf"((?:(?![Xx][Nn]--){_LABEL}\.)+[A-Za-z]{{2,63}})(?(1)>)"
)
_DOT_ATOM = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+)*"
)
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label that makes some resolvers see an IP address
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)("?+)')  # closed or not: looking again at each mark takes quadratic time
_ESCAPED = re.compile(r"\\(.)")
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,."]')
_LOCAL_TOO_LONG = f"has a local part (before the @) longer than {MAX_LOCAL} octets"


def parse(text: str, *, member: str) -> Address:
    """Reads `a@b`, `Name <a@b>` or `"Name" <a@b>`; raises `InvalidInput`, which never repeats the text.

    The domain becomes lower-case A-labels (IDNA 2008 with UTS #46 mapping), the local part keeps its case (RFC 5321
    §2.4) and is NFC-normalised, the name is decoded.
    """
    if len(text) > _MAX_TEXT:
        raise InvalidInput(member, "is too long for an address")
    found = _COMMON.fullmatch(text)
    if found is None:
        return _parse_carefully(text, member)
    name, local, domain = found.groups("")
    return Address(_checked_length(local, domain.lower(), member), _checked_name(name.rstrip(" "), member))


def render(address: Address) -> str:
    """Writes an address as the API gives it back; `parse` reads it as the same address."""
    if not address.name:
        return address.addr
    if not _SPECIALS.search(address.name):
        return f"{address.name} <{address.addr}>"
    escaped = address.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{address.addr}>'


def needs_smtputf8(addr: str) -> bool:
    """Whether SMTP can carry this address only by RFC 6531. The domain never needs it: it is in A-label form."""
    return not addr.isascii()


def domain_of(addr: str) -> str:
    """The domain of an address, without the @."""
    return addr.rpartition("@")[2]


def _parse_carefully(text: str, member: str) -> Address:
    if characters.DECEIVING.search(text):
        raise InvalidInput(member, "holds a control character")
    unquoted = _outside_quotes(text)
    if unquoted.count("@") > 1 and ("," in unquoted or ";" in unquoted):
        raise InvalidInput(member, "holds several addresses; write them as a list")
    phrase, addr = _split(text.strip(" "), member)
    local, at, domain = addr.rpartition("@")
    if not at:
        raise InvalidInput(member, "is not an address: write a@example.com or Name <a@example.com>")
    local, domain = _local_part(local, member), _domain(domain, member)
    return Address(_checked_length(local, domain, member), _name(phrase, member))


def _split(text: str, member: str) -> tuple[str, str]:
    """The name, still quoted and encoded, and what stands between the angle brackets."""
    if not text.endswith(">"):
        return "", text
    phrase, bracket, addr = text[:-1].rpartition("<")
    if not bracket:
        raise InvalidInput(member, "has a > without a <")
    return phrase.strip(" "), addr


def _outside_quotes(text: str) -> str:
    return _QUOTED.sub(lambda quoted: "" if quoted[2] else quoted[0], text)


def _name(phrase: str, member: str) -> str:
    unquoted = _outside_quotes(phrase)
    if '"' in unquoted:
        raise InvalidInput(member, "has a quotation mark without its pair in the name")
    if "<" in unquoted or ">" in unquoted:
        raise InvalidInput(member, "has angle brackets in the name; put the name in quotation marks")
    written = _QUOTED.sub(lambda quoted: _ESCAPED.sub(r"\1", quoted[1]), phrase)
    try:
        name = encoded_word.decode(written).strip(" ")
    except ValueError:
        raise InvalidInput(member, "holds an encoded word that cannot be decoded; write the name as it is") from None
    if characters.DECEIVING.search(name):
        raise InvalidInput(member, "holds a control character")
    return _checked_name(name, member)


def _checked_name(name: str, member: str) -> str:
    if len(name) > MAX_NAME:
        raise InvalidInput(member, f"has a name longer than {MAX_NAME} characters")
    return name


def _local_part(local: str, member: str) -> str:
    if local.startswith('"'):
        raise InvalidInput(member, "has a quoted local part, which is not supported")
    if "@" in local:
        raise InvalidInput(member, "has more than one @")
    if len(local) > 4 * MAX_LOCAL:  # more than any composition shrinks; normalising takes quadratic time
        raise InvalidInput(member, _LOCAL_TOO_LONG)
    local = unicodedata.normalize("NFC", local)
    if not _DOT_ATOM.fullmatch(local) or "=?" in local or not _visible(local):  # =? would pass for an encoded word
        raise InvalidInput(member, "has a local part (before the @) that RFC 5322 does not allow")
    return local


def _visible(local: str) -> bool:
    return local.translate(characters.JOINERS).isprintable()


def _domain(domain: str, member: str) -> str:
    if domain.startswith("["):
        raise InvalidInput(member, "has an address literal; a domain name is needed")
    if len(domain) > MAX_DOMAIN:
        raise InvalidInput(member, f"has a domain longer than {MAX_DOMAIN} octets")
    name = _a_labels(domain, member)
    if not _DOMAIN.fullmatch(name):
        raise InvalidInput(member, _what_is_wrong_with(name))
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise InvalidInput(member, "has an IP address; a domain name is needed")
    return name


def _a_labels(domain: str, member: str) -> str:
    name = domain.lower()
    if name.isascii() and "xn--" not in name:
        return name
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError:
        raise InvalidInput(member, "has a domain that is not a valid internationalised name (IDNA 2008)") from None


def _what_is_wrong_with(name: str) -> str:
    if not name.strip("."):
        return "has no domain"
    if "." not in name:
        return "has a domain without a dot; a full domain name is needed"
    if any(len(label) > MAX_LABEL for label in name.split(".")):
        return f"has a domain label longer than {MAX_LABEL} octets"
    return "has a domain that RFC 5321 does not allow"


def _checked_length(local: str, domain: str, member: str) -> str:
    octets = len(local) if local.isascii() else len(local.encode())
    if octets > MAX_LOCAL:
        raise InvalidInput(member, _LOCAL_TOO_LONG)
    if octets + 1 + len(domain) > MAX_ADDR or len(domain) > MAX_DOMAIN:
        raise InvalidInput(member, f"is longer than {MAX_ADDR} octets")
    return f"{local}@{domain}"
