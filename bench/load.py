"""The load generator, a process of its own: `python -m bench.load ORDER ANSWER DONE`: two JSON files, and one that is
there once all answers are.

One thread, one epoll, keep-alive connections with at most one request under way on each. It says "ready" when it is
connected, starts at the first line on its standard input, and looks into the answers at the second. It is lean, so that
it takes little from what it measures.
"""

import json
import select
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bench import work
from bench.work import Target

RECEIVE_BYTES = 256 * 1024
MADE_BEFORE = 20_000  # requests; the making of more would take too much memory, and is done on the way
SILENCE_SECONDS = 60.0


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    due_at: float = 0.0
    received: bytes = b""


@dataclass(slots=True, kw_only=True)
class Answer:
    """What came of a load. Times are of the monotonic clock, which all processes of a machine share."""

    started_at: float
    ended_at: float = 0.0
    cpu_seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)


def run(requests: Iterator[bytes], *, port: int, connections: int, rate: float | None = None) -> tuple[Answer, Any]:
    """Sends the requests, each connection its next one as soon as it has its answer; or so many a second in all, and
    then latency counts from when a request was due. Returns the timings, and the answers' heads and bodies."""
    requests = chain(list(islice(requests, MADE_BEFORE)), requests)
    idle = deque(_connect(port) for _ in range(connections))
    epoll = select.epoll()
    by_fd = {}
    for connection in idle:
        epoll.register(connection.sock, select.EPOLLIN)
        by_fd[connection.sock.fileno()] = connection
    print("ready", flush=True)  # noqa: T201  # to the process that waits for it
    sys.stdin.readline()

    clock, answers, latencies = time.perf_counter, [], []
    cpu, answer, started = time.process_time(), Answer(started_at=time.monotonic()), clock()
    following, sent, pending = next(requests, None), 0, 0
    while following is not None or pending:
        wait = SILENCE_SECONDS
        while following is not None and idle:
            now = clock()
            due = started + sent / rate if rate else now
            if due > now:
                wait = due - now
                break
            connection = idle.popleft()  # in turn, so that none is idle for so long that the server closes it
            connection.due_at = due
            connection.sock.sendall(following)
            following, sent, pending = next(requests, None), sent + 1, pending + 1
        events = epoll.poll(wait)
        if not events and wait == SILENCE_SECONDS:
            raise RuntimeError(f"no answer for {wait:.0f} s; {pending} requests wait for theirs")
        for fd, _ in events:
            connection = by_fd[fd]
            whole = _receive(connection)
            if whole:
                latencies.append((clock() - connection.due_at) * 1000)
                answers.append(whole)
                idle.append(connection)
                pending -= 1
    answer.ended_at = time.monotonic()
    answer.cpu_seconds = time.process_time() - cpu
    answer.latencies_ms = latencies
    return answer, answers


def _connect(port: int) -> _Connection:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return _Connection(sock)


def _receive(connection: _Connection) -> tuple[bytes, bytes] | None:
    """The head and body of the answer, once they are there."""
    data = connection.sock.recv(RECEIVE_BYTES)
    if not data:
        raise RuntimeError(f"the server closed the connection after {connection.received!r}")
    connection.received += data
    head, blank, body = connection.received.partition(b"\r\n\r\n")
    if not blank:
        return None
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
    if len(body) < length:
        return None
    connection.received = b""
    return head, body


def _requests(order: dict[str, Any]) -> Iterator[bytes]:
    target = Target(**order["target"])
    if "paths" in order:
        return work.reads(target, order["paths"])
    return work.submissions(target, order["run"], range(*order["numbers"]), batch=order["batch"])


def main(order_file: str, answer_file: str, done_file: str) -> None:
    """Carries out the order and writes the answer."""
    order = json.loads(Path(order_file).read_text())
    target = Target(**order["target"])
    answer, answers = run(_requests(order), port=target.port, connections=order["connections"], rate=order.get("rate"))
    Path(done_file).touch()
    sys.stdin.readline()  # what was submitted may still be under way: it is not to be disturbed
    answer.codes = dict(Counter(head.split(b" ", 2)[1].decode() for head, _ in answers))
    good = [body for head, body in answers if head.split(b" ", 2)[1].startswith(b"2")]
    if "paths" in order:
        answer.statuses = dict(Counter(str(json.loads(body).get("status")) for body in good))
    else:
        answer.ids = [one for body in good for one in work.ids_of(body)]
    Path(answer_file).write_text(json.dumps(asdict(answer)))


if __name__ == "__main__":
    main(*sys.argv[1:])
