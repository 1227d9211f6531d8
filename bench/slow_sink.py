"""An SMTP server that takes everything, with a pause before each answer to a final dot: `PORT FILE DELAY_MS`.

`smtp-sink` can wait whole seconds only. This one writes messages to the file as `smtp-sink -D` does, as far as
the ledger reads them.
"""

import asyncio
import sys
from typing import BinaryIO, cast

import uvloop

_END = b"\r\n.\r\n"
_REPLIES = {
    b"EHLO": b"250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"DATA": b"354 Go on\r\n",
    b"QUIT": b"221 Bye\r\n",
}


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, file: BinaryIO, delay_seconds: float) -> None:
        self._file = file
        self._delay = delay_seconds
        self._received = b""
        self._in_data = self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Takes what came; nothing is answered while an answer is delayed, so that the order stays."""
        self._received += data
        self._go_on()

    def _go_on(self) -> None:
        replies = []
        while not self._waiting and (reply := self._next()) is not None:
            replies.append(reply)
        if replies and not self._transport.is_closing():
            self._transport.write(b"".join(replies))

    def _next(self) -> bytes | None:
        """The reply to the next command or message; None when it is not complete, or its reply has to wait."""
        if self._in_data:
            return self._message()
        line, newline, rest = self._received.partition(b"\r\n")
        if not newline:
            return None
        self._received = rest
        command = line[:4].upper()
        self._in_data = command == b"DATA"
        return _REPLIES.get(command, b"250 OK\r\n")

    def _message(self) -> bytes | None:
        message, end, rest = self._received.partition(_END)
        if not end:
            return None
        self._received = rest
        self._in_data, self._waiting = False, True
        self._file.write(b"From sink\n" + message.replace(b"\r\n", b"\n") + b"\n\n")
        asyncio.get_running_loop().call_later(self._delay, self._accept)
        return None

    def _accept(self) -> None:
        self._waiting = False
        if not self._transport.is_closing():
            self._transport.write(b"250 Accepted\r\n")
        self._go_on()


async def serve(port: int, path: str, delay_seconds: float) -> None:
    """Serves until it is ended."""
    with open(path, "ab", buffering=0) as file:
        server = await asyncio.get_running_loop().create_server(lambda: Session(file, delay_seconds), "127.0.0.1", port)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) / 1000))
