"""Search terms: what an email is looked up by in every store. `@` and a recipient's address, `#` and a tag; and where
the subjects with one beginning end."""

from collections.abc import Iterable

_LAST_CHARACTER = "\U0010ffff"


def of_email(addresses: Iterable[str], tags: Iterable[tuple[str, str]]) -> set[str]:
    """The terms of each recipient, and of each tag with and without its value."""
    found = {of_address(address) for address in addresses}
    for name, value in tags:
        found |= {of_tag(name), of_tag(f"{name}:{value}")}
    return found


def of_address(address: str) -> str:
    """The term of a recipient's address; letter case does not matter."""
    return f"@{address.casefold()}"


def of_tag(tag: str) -> str:
    """The term of a tag, `name` or `name:value`."""
    return f"#{tag}"


def behind(beginning: str) -> str:
    """The first text, in the order of characters, that sorts behind all texts with this beginning: the same with its
    last character raised by one."""
    stem = beginning.rstrip(_LAST_CHARACTER)
    if not stem:  # nothing does; but for those that go on with the same character, this does
        return beginning + _LAST_CHARACTER
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)  # surrogates are no characters
