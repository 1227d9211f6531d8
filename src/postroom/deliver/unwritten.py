"""Lives that a turn knows and the store does not have yet. While the store is away, nobody else knows them."""

from collections.abc import Collection

from postroom.deliver import events
from postroom.deliver.held import took
from postroom.errors import OutcomeUnknown, StoreError
from postroom.mail.outcome import HandOff
from postroom.store.base import Settlement, Store


class Unwritten:
    """Settlements with the hand-offs that they follow from, by email id."""

    def __init__(self, store: Store, *, worker: str) -> None:
        self._store = store
        self._worker = worker
        self._kept: dict[str, tuple[Settlement, HandOff]] = {}
        self._perhaps_written: set[str] = set()  # of these; the store did not say

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, email_id: object) -> bool:
        return email_id in self._kept

    def add(self, settlement: Settlement, hand_off: HandOff) -> None:
        """Keeps it until it is written."""
        self._kept[settlement.email_id] = (settlement, hand_off)

    def write(self) -> None:
        """Writes what the store takes; while it is away, all is kept. A life whose claim has lapsed is refused; if the
        relay took the email, it is written all the same, flagged, while nobody else has claimed the email."""
        if not self._kept:
            return
        now = self._store.clock()
        try:
            self._end(self._store.settle([settlement for settlement, _ in self._kept.values()], now=now))
            late = [settlement for settlement, hand_off in self._kept.values() if took(hand_off)]
            if late:
                self._end(self._store.settle_late(late, now=now))
        except StoreError as error:
            events.store_unavailable(error, worker=self._worker)
            if isinstance(error, OutcomeUnknown):
                self._perhaps_written.update(self._kept)
            return
        for email_id in self._kept.keys() - self._perhaps_written:
            events.refused(self._kept[email_id][0])
        self._kept.clear()
        self._perhaps_written.clear()

    def _end(self, written: Collection[str]) -> None:
        for email_id in written:
            settlement, _ = self._kept.pop(email_id)
            events.written(settlement)
