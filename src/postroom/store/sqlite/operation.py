"""What the writer and the readers run: functions of a connection."""

import sqlite3
from collections.abc import Callable
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Operation: TypeAlias = Callable[[sqlite3.Connection], T]
"""Done whole or not at all: whoever runs it begins and ends the transaction, and returns what it returns."""
