"""What a process remembers of the claims that it has settled."""

import threading
from collections.abc import Iterable

_REMEMBERED = 10_000  # claims, of 100 to 500 bytes each


class Ended:
    """Claims that this process has settled; nobody else had their tokens. Only what it claimed lately matters, so it
    remembers no more. The leases are not told, which would be another write for each settlement."""

    def __init__(self) -> None:
        self._by_token: dict[str, set[str]] = {}
        self._count = 0
        self._changing = threading.Lock()

    def add(self, token: str, ids: Iterable[str]) -> None:
        """Remembers these."""
        with self._changing:
            ended = self._by_token.setdefault(token, set())
            before = len(ended)
            ended.update(ids)
            self._count += len(ended) - before
            while self._count > _REMEMBERED:
                self._count -= len(self._by_token.pop(next(iter(self._by_token))))

    def without(self, token: str, ids: Iterable[str]) -> list[str]:
        """Those of the claims that were not settled."""
        with self._changing:
            ended = self._by_token.get(token, ())
            return [email_id for email_id in ids if email_id not in ended]
