"""A TCP link between a client and a server, which can be slow, or be cut or overtaken at the worst moment."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable


class Link:
    """Forwards connections to a loopback port until `close`. Threads of its own do the work."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._word: bytes | None = None
        self._for_good = False
        self._deliver = True
        self._before: tuple[bytes, Callable[[bytes], object]] | None = None
        self._bytes_per_second: int | None = None
        self._mute: socket.socket | None = None
        self._answered = threading.Event()
        self.was_cut = threading.Event()
        self._start(self._accept)

    def cut_after(self, word: bytes, *, for_good: bool = False, deliver: bool = True) -> None:
        """Cuts the link, once, when the server has carried out a request with this word in it, before its answer comes
        back; or, unless `deliver`, before it gets the request. `for_good` refuses all connections from then on."""
        self._for_good, self._deliver, self._word = for_good, deliver, word

    def mend(self) -> None:
        """Takes connections again after a cut for good."""
        self._for_good = False

    def before(self, word: bytes, action: Callable[[bytes], object]) -> None:
        """Does this, from now on, when a request with this word in it has come and the server has not got it yet."""
        self._before = word, action

    def slow_down(self, bytes_per_second: int | None) -> None:
        """Lets answers of the server come through no faster than that; None: as fast as they can."""
        self._bytes_per_second = bytes_per_second

    def close(self) -> None:
        """Cuts all connections and ends."""
        self._shut(self._listener)
        self._cut_all()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._for_good and self.was_cut.is_set():
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target_port))
            self._sockets |= {client, server}
            self._start(self._forward, client, server, True)
            self._start(self._forward, server, client, False)

    def _forward(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_request and self._before and self._before[0] in data:
                    self._before[1](data)
                if is_request and self._word and self._word in data:
                    self._cut(target, data)
                    break
                if source is self._mute:
                    self.was_cut.set()  # before the client can notice
                    self._answered.set()
                    break
                if not is_request and self._bytes_per_second:
                    time.sleep(len(data) / self._bytes_per_second)
                target.sendall(data)
        self._shut(source)
        self._shut(target)

    def _cut(self, server: socket.socket, request: bytes) -> None:
        self._word = None
        if self._deliver:
            self._mute = server
            server.sendall(request)
            self._answered.wait(10)
        self.was_cut.set()

    def _cut_all(self) -> None:
        for each in list(self._sockets):
            self._shut(each)

    def _shut(self, which: socket.socket) -> None:
        with contextlib.suppress(OSError):
            which.shutdown(socket.SHUT_RDWR)
        which.close()
