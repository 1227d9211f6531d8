"""One connection's whole talk: bytes in, bytes out, no sockets, no clock. First the opening, then email after email."""

from postroom.mail.outcome import Envelope, Phase
from postroom.transport.smtp.opening import Opening, RouteTrouble
from postroom.transport.smtp.relay import Relay
from postroom.transport.smtp.replies import RawReply, ReplyReader
from postroom.transport.smtp.transaction import Transaction


class Dialogue:
    """Where the talk stands, and what to write next.

    `transaction` is the email under way; one more may follow it, begun together with its final dot.

    `trouble` is set when the connection could not be made ready for mail. `broken` says that the connection must be
    closed; then `transaction`, if there is one, is over and has its outcomes. `answered` counts whole replies.
    """

    __slots__ = ("_following", "_opening", "_parted", "_replies", "answered", "broken", "transaction", "trouble")

    def __init__(self, relay: Relay) -> None:
        self._replies = ReplyReader()
        self._opening = Opening(relay)
        self.transaction: Transaction | None = None
        self._following: Transaction | None = None
        self._parted = False
        self.trouble: RouteTrouble | None = None
        self.broken = False
        self.answered = 0

    @property
    def is_open(self) -> bool:
        """Whether the relay has let us in."""
        return self._opening.is_done

    @property
    def wants_tls(self) -> bool:
        """Whether the connection must be encrypted now, and then `secured` be called."""
        return self._opening.wants_tls

    @property
    def phase(self) -> Phase:
        """How far the talk has come."""
        return self.transaction.phase if self.transaction else self._opening.phase

    @property
    def awaits_dot(self) -> bool:
        """Whether the body has been given out to be written, and the final dot has not."""
        return self.transaction is not None and self.transaction.awaits_dot

    @property
    def may_be_followed(self) -> bool:
        """Whether the relay takes the next email's commands in one piece with the final dot."""
        return self._opening.features.pipelining

    def connected(self, own_address: str) -> None:
        """The connection stands; this is our end's address."""
        self._opening.connected(own_address)

    def secured(self) -> bytes:
        """The connection is encrypted now. Forgets what was read before (RFC 3207 §6); returns what to write."""
        self._replies.clear()
        return self._opening.secured()

    def begin(self, envelope: Envelope, *, trusted: bool = False) -> bytes:
        """Starts an email on an open, idle connection; returns what to write. `trusted`: see `refusal`."""
        self.transaction = Transaction(envelope, self._opening.features, trusted=trusted)
        return self.transaction.begin()

    def follow(self, envelope: Envelope, *, trusted: bool = False) -> bytes:
        """Starts the next email behind the final dot of this one; returns what to write in one piece with it."""
        assert self.transaction is not None
        self.transaction.followed = True
        self._following = Transaction(envelope, self._opening.features, early=True, trusted=trusted)
        return self._following.begin()

    def part(self) -> None:
        """Gives up the email that follows, though the relay has been told of it: this connection carries no more."""
        self._following = None
        self._parted = True

    def finish(self) -> Transaction:
        """Takes the finished transaction away, so that the next can begin, or the one that follows go on."""
        transaction, self.transaction, self._following = self.transaction, self._following, None
        assert transaction is not None
        if not transaction.usable or self._parted or not (self.transaction or self._replies.is_empty):
            self.broken = True
        if self.broken and self.transaction and not self.transaction.is_over:
            self.transaction.lose("the connection ended with the email before", closed=True)
        return transaction

    def receive(self, data: bytes) -> bytes:
        """Takes bytes from the relay; returns what to write."""
        written = b""
        try:
            for raw in self._replies.feed(data):
                self.answered += 1
                written += self._on_reply(raw)
                if self.broken or (self.transaction is None and self._opening.wants_tls):
                    return written
        except RouteTrouble as trouble:
            self._fail(trouble)
        if self._replies.garbage and not self.broken:
            self.lose(self._replies.garbage)
        return written

    def release(self) -> None:
        """The final dot is not allowed: the connection must be closed instead."""
        assert self.transaction is not None
        self.transaction.release()
        self.broken = True

    def lose(self, problem: str, *, closed: bool = False) -> None:
        """The connection is lost, too slow or talks nonsense; `closed` when the relay ended it."""
        self.broken = True
        if self.transaction is None:
            if not self._opening.is_done:
                self._fail(self._opening.lost(problem))
        elif not self.transaction.is_over:
            self.transaction.lose(problem, closed=closed)
        elif self._following and not self._following.is_over:
            self._following.lose(problem, closed=closed)

    def _on_reply(self, raw: RawReply) -> bytes:
        transaction = self.transaction
        if transaction is None and not self._opening.is_done:
            return self._opening.on_reply(raw)
        if transaction and transaction.is_over:
            transaction = self._following
        if transaction is None or transaction.is_over:
            self.broken = True  # it speaks though nothing was asked: a farewell, or nonsense
            return b""
        written = transaction.on_reply(raw)
        self.broken = not transaction.usable
        return written

    def _fail(self, trouble: RouteTrouble) -> None:
        self.trouble = trouble
        self.broken = True
