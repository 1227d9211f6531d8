"""A Redis that can wait for its disk (WAITAOF, since 7.2), played in front of one of any version."""

import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import hiredis

VERSION = b"redis_version:7.2.0"


class NewerRedis(socketserver.ThreadingTCPServer):
    """Passes on what clients say, all but WAITAOF, and notes it. `on_disk` is how many disks WAITAOF says have what was
    written; None, that it is refused."""

    daemon_threads = True

    def __init__(self, target_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.target_port = target_port
        self.url = f"redis://127.0.0.1:{self.server_address[1]}/0"
        self.on_disk: int | None = 1
        self.said: list[tuple[bytes, ...]] = []


class _Conversation(socketserver.BaseRequestHandler):
    """One connection. Its commands are passed on one by one, so that it is known whose reply comes."""

    server: NewerRedis

    def handle(self) -> None:
        commands = hiredis.Reader()
        with socket.create_connection(("127.0.0.1", self.server.target_port)) as target:
            while data := self.request.recv(65536):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    self.request.sendall(self._reply(tuple(command), target))

    def _reply(self, command: tuple[bytes, ...], target: socket.socket) -> bytes:
        self.server.said.append(command)
        if command[0] == b"WAITAOF":
            disks = self.server.on_disk
            return b"-ERR of the test\r\n" if disks is None else b"*2\r\n:%d\r\n:0\r\n" % disks
        target.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]  # it takes any length
        raw, parsed = _next_reply(target)
        if command[0] == b"INFO" and isinstance(parsed, bytes):
            told = re.sub(rb"redis_version:\S+", VERSION, parsed)
            return b"$%d\r\n%s\r\n" % (len(told), told)
        return raw


def _next_reply(target: socket.socket) -> tuple[bytes, object]:
    """The next reply, as it comes and as it reads."""
    replies, raw = hiredis.Reader(), b""
    while (parsed := replies.gets()) is False:
        data = target.recv(65536)
        assert data, "Redis has hung up"
        replies.feed(data)
        raw += data
    return raw, parsed


@contextmanager
def played(target_port: int) -> Iterator[NewerRedis]:
    """One that answers until the block ends."""
    with NewerRedis(target_port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)
