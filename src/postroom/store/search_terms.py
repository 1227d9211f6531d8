"""Search terms: what an email is looked up by in every store. `@` and a recipient's address, `#` and a tag."""

from collections.abc import Iterable


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
