"""What every document of the database is in Python, which form it has, and how absent members are left out of it."""

from typing import Any, TypeAlias

Document: TypeAlias = dict[str, Any]

SCHEMA = 2  # of each document; raised when an older Postroom would misread what this one writes


def without_gaps(document: Document) -> Document:
    """Leaves out what is absent or empty."""
    return {name: value for name, value in document.items() if value is not None and value != []}
