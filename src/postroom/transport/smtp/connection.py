"""One connection to the relay: a wire, the dialogue on it, what is left to write, and until when the relay may take."""

import contextlib
import logging
import math
import ssl
from collections import deque
from collections.abc import Mapping, Sequence

from postroom.mail.outcome import Envelope, Phase
from postroom.transport.smtp import command
from postroom.transport.smtp.dialogue import Dialogue
from postroom.transport.smtp.lookup import Address
from postroom.transport.smtp.relay import Relay, Timeouts
from postroom.transport.smtp.transaction import Transaction
from postroom.transport.smtp.wire import Wire, WireLost

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
PROMPT_SECONDS = 0.25  # over the reply to a final dot; behind a slower one no email is to wait
_SENDS_AT_ONCE = 64  # a large message on a fast link must not keep the others waiting


def limits(timeouts: Timeouts) -> Mapping[Phase, float]:
    """How many seconds the relay may take over each phase."""
    return {
        Phase.CONNECT: timeouts.connect,
        Phase.GREETING: timeouts.greeting,
        Phase.EHLO: timeouts.command,
        Phase.STARTTLS: timeouts.starttls,
        Phase.AUTH: timeouts.auth,
        Phase.MAIL: timeouts.command,
        Phase.RCPT: timeouts.command,
        Phase.DATA: timeouts.command,
        Phase.BODY: timeouts.body,
        Phase.DOT: timeouts.dot,
    }


class Connection:
    """Nothing here raises for what the relay or the network does: `dialogue` says what became of it.

    `other_addresses` are those to try where this one cannot be connected to. `is_fresh`: has not been used yet, so
    that the relay can have had no reason to close it. `emails` counts finished transactions; `may_be_followed`
    says that the next email may begin in one piece with the final dot of the one under way: the relay allows it, and
    its reply to the last dot came soon. `wants_write` says that it must be woken up when it can write again.
    """

    __slots__ = (
        "_context", "_dot_at", "_give_up_at", "_host", "_limits", "_pending", "_progress", "_sends", "_since", "_wire",
        "address", "dialogue", "emails", "is_fresh", "is_watched_for_write",
        "may_be_followed", "other_addresses", "wants_write",
    )  # fmt: skip

    def __init__(
        self,
        relay: Relay,
        context: ssl.SSLContext | None,
        addresses: Sequence[Address],
        phase_limits: Mapping[Phase, float],
        *,
        now: float,
    ) -> None:
        self.address, *rest = addresses
        self.other_addresses = rest
        self.dialogue = Dialogue(relay)
        self.emails = 0
        self.is_fresh = True
        self.may_be_followed = False
        self.wants_write = True
        self.is_watched_for_write = False  # what the selector has been told
        self._host = relay.host.rstrip(".")  # certificates name it without
        self._context = context
        self._limits = phase_limits
        self._pending: deque[bytes | memoryview] = deque()
        self._sends = 0
        self._progress = 0
        self._dot_at = now
        self._give_up_at = math.inf  # on the email under way, unless its dot is written
        self._since = now  # when this side or that last got on
        self._wire = Wire(self.address)

    def fileno(self) -> int:
        """For the selector."""
        return self._wire.fileno()

    @property
    def is_parked(self) -> bool:
        """Whether everything but the final dot has been written."""
        return not self._pending and self.dialogue.awaits_dot

    def is_slow(self, now: float) -> bool:
        """Whether the reply to the last final dot does not come, or has not come, soon."""
        return now > self._dot_at + PROMPT_SECONDS

    def is_overdue(self, now: float) -> bool:
        """Whether the relay has taken longer than it may; or, where nothing is asked of it, whether idle long."""
        idle = self.dialogue.is_open and self.dialogue.transaction is None
        limit = IDLE_SECONDS if idle else self._limits[self.dialogue.phase]
        return (now >= self._since + limit or self._is_late(now)) and not self.is_parked

    def _is_late(self, now: float) -> bool:
        """Whether the attempt has taken too long, though the relay may answer each command in time."""
        return (
            now >= self._give_up_at and self.dialogue.transaction is not None and self.dialogue.phase is not Phase.DOT
        )

    def on_event(self) -> None:
        """Something has come in, or can be written: goes on as far as it goes without waiting, up to `flush`."""
        try:
            if not self._wire.is_ready:
                self._connect()
            if self._wire.is_ready:
                self._read()
        except Exception as exc:
            self._lose(exc)

    def begin(self, envelope: Envelope, now: float, *, give_up_at: float, trusted: bool) -> None:
        """Starts an email on an open, idle connection; `flush` is next."""
        self._since = now
        self._give_up_at = give_up_at
        self._write(self.dialogue.begin(envelope, trusted=trusted))

    def write_dot(self, following: Envelope | None, now: float, *, give_up_at: float, trusted: bool) -> None:
        """Ends the message of a parked connection, and starts the one that follows; `flush` is next."""
        self._give_up_at = give_up_at
        self._since = self._dot_at = now
        assert self.dialogue.transaction is not None
        data = self.dialogue.transaction.write_dot()
        if following:
            self.is_fresh = False
            data += self.dialogue.follow(following, trusted=trusted)
        self._write(data)

    def finish(self, now: float) -> Transaction:
        """Takes the finished transaction away; the one that follows is then under way, if there is one."""
        transaction = self.dialogue.finish()
        self.emails += 1
        is_prompt = transaction.phase is Phase.DOT and not self.is_slow(now)
        self.may_be_followed = is_prompt and self.dialogue.may_be_followed
        return transaction

    def flush(self, now: float) -> None:
        """Sends what there is to write, as far as the wire takes it.

        A step of its own, so that a loop can first think about many connections and then write to all of them: waking
        up the other side for each one in turn took a fifth of all CPU.
        """
        if self._pending and not self.dialogue.broken:
            try:
                self._send()
            except Exception as exc:
                self._hear_last_words()
                self._lose(exc)
        self.wants_write = bool(self._pending) or self._wire.wants_write
        progress = self._sends + self.dialogue.answered
        if progress != self._progress:  # whole replies and written bytes give the relay more time, single bytes do not
            self._progress = progress
            self._since = now

    def time_out(self, now: float) -> None:
        """The relay has taken too long."""
        phase = self.dialogue.phase
        if self._is_late(now):
            self.dialogue.lose(f"the relay is too slow: the attempt had to end at {phase.upper()}")
        else:
            self.dialogue.lose(f"no answer from the relay at {phase.upper()} within {self._limits[phase]:g} s")

    def is_silent(self) -> bool:
        """Whether an idle connection is still good: an idle relay speaks only to say farewell."""
        try:
            return not self._wire.receive()
        except WireLost:
            return False

    def quit(self) -> None:
        """Says goodbye, without waiting for the answer; `close` is still to be called."""
        with contextlib.suppress(WireLost):
            self._wire.send(command.QUIT)

    def close(self) -> None:
        """Lets go at once. A message without its final dot is not delivered."""
        self._pending.clear()
        self._wire.close()

    # -- bytes ---------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if not self._wire.is_connected:
            self._wire.advance()
            self.dialogue.connected(self._wire.own_address())
            self._sends += 1  # the time for the next phase begins
            if self.dialogue.wants_tls:
                self._encrypt()
        else:
            self._wire.advance()
            self._go_on_encrypted()

    def _encrypt(self) -> None:
        assert self._context is not None
        self._wire.encrypt(self._context, self._host)
        self._go_on_encrypted()

    def _go_on_encrypted(self) -> None:
        if self._wire.is_ready:
            self._write(self.dialogue.secured())

    def _read(self) -> None:
        dialogue, wire = self.dialogue, self._wire
        while data := wire.receive():
            self._write(dialogue.receive(data))
            if dialogue.wants_tls:
                return self._encrypt()
            if dialogue.broken or not wire.is_encrypted:  # what is decrypted already, no selector would tell
                return

    def _hear_last_words(self) -> None:
        """A relay that breaks off may have said why, in a reply that has not been read yet."""
        with contextlib.suppress(Exception):  # what went wrong first is told
            while not self.dialogue.broken and (data := self._wire.receive()):
                self.dialogue.receive(data)

    def _lose(self, exc: Exception) -> None:
        """Judges what was under way. A bug is logged and ends this connection alone: an exception would take along what
        is under way on all others, some of it in doubt."""
        if not isinstance(exc, WireLost):
            log.error("unexpected error", exc_info=exc)
            self.dialogue.lose("an error in Postroom ended the connection")
        elif not self.dialogue.broken:
            self.dialogue.lose(str(exc), closed=exc.closed)

    def _write(self, data: bytes) -> None:
        if data:
            self._pending.append(data)

    def _send(self) -> None:
        pending = self._pending
        for _ in range(_SENDS_AT_ONCE):
            data = pending[0]
            sent = self._wire.send(data)
            if not sent:
                return
            self._sends += 1
            if sent < len(data):
                pending[0] = memoryview(data)[sent:]
                continue
            pending.popleft()
            if not pending:
                return
