"""Whether a client reads the answer that it is sent; what it does not read is kept in memory."""

import asyncio

SLOWEST_BYTES_A_SECOND = 1024


class SlowReaderGuard:
    """Cuts a connection that takes less than `SLOWEST_BYTES_A_SECOND` of what waits for it, looking every `seconds`."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport, self._loop, self._seconds = transport, loop, seconds
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """There is more than the connection takes at once."""
        if self._timer is None:
            self._look_later()

    def end(self) -> None:
        """It has taken nearly all, or is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(self._seconds, self._look, self._transport.get_write_buffer_size())

    def _look(self, before: int) -> None:
        if before - self._transport.get_write_buffer_size() < self._seconds * SLOWEST_BYTES_A_SECOND:
            self._transport.abort()
        else:
            self._look_later()
