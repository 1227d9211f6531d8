"""HTTP/1.1 on one connection, with an end to patience: how much a client may send, how oddly, and how slowly.

uvicorn's protocol has no such limits. Every refusal made here has the shape of all others, and can be read: a client
that is still sending is listened to for a moment before its connection is closed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from postroom.api import errors
from postroom.api.errors import Refusal
from postroom.api.http import crowding, heads, refusals, upgrade
from postroom.api.http.cycle import MOST_DISCARDED_BYTES, Cycle, Parting, Trailers
from postroom.api.http.heads import HeadSize
from postroom.api.http.pace import Pace
from postroom.api.http.slow_reader import SlowReaderGuard

LINGER_SECONDS = 5.0
MOST_LINGERING = 500  # connections above the limit that are told so; the rest are cut
MOST_PIPELINED = 128  # requests of one connection that wait for the answer to one before them


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may do; times are seconds."""

    connections: int
    head_seconds: float
    body_seconds: float


class _Phase(IntEnum):
    """What the parser is in the middle of."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    DONE = 3  # the request has arrived; its answer is under way


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits. One object per connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._phase = _Phase.IDLE
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: Refusal | None = None
        self._head_size = HeadSize()
        self._blanks = False  # whether a value of the head that arrives may have blanks behind it
        self._pace: Pace | None = None  # of a body that takes several pieces
        self._discarded = 0
        self._deaf = False
        self._parting = False
        self._idle_since = 0.0
        self._framing = b""  # of a body that the parser takes for another protocol

    # -- the life of the connection -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begins to wait for a request, or says that there are too many connections."""
        super().connection_made(transport)
        self._slow_reader = SlowReaderGuard(transport, self.loop, self._limits.body_seconds)
        self._idle_since = self.loop.time()
        beyond = len(self.connections) - self._limits.connections
        if beyond > MOST_LINGERING:
            transport.abort()
        elif beyond > 0 and not crowding.make_room(self.connections, self):
            self._refuse(errors.unavailable("too many connections; try again", retry_after_seconds=1))
        else:
            self._wait(self._limits.head_seconds, self._head_is_late)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, within the limits."""
        if self._deaf or self._parting:
            return
        self._blanks = heads.may_have_blanks(data) or (self._blanks and self._phase is _Phase.HEAD)
        self._head_size.arrives(len(data), behind=self._phase in (_Phase.HEAD, _Phase.BODY))
        cycle = self.cycle
        body_before = len(cycle.body) if self._phase is _Phase.BODY else 0
        self._unset_keepalive_if_required()
        self._parse(data)
        if not (self._deaf or self._parting or self.transport.is_closing()):
            self._watch(len(data), body_before if self.cycle is cycle else 0)

    @property
    def idle_since(self) -> float | None:
        """Since when this connection waits for a request, by the loop's clock; None if it has one, or is closing."""
        return None if self._phase is not _Phase.IDLE or self.transport.is_closing() else self._idle_since

    def _parse(self, data: bytes | memoryview) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = memoryview(data)[offer.args[0] :]
                self.parser, self._framing = upgrade.go_on(self, self._framing), b""
            except httptools.HttpParserError:
                self._refuse(self._refusal or refusals.malformed("this is not a valid HTTP/1.1 request"))
                return
            else:
                return

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the timers."""
        self._wait(0, None)
        self.resume_writing()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Goes on with the next request, unless the connection is being closed."""
        if self._parting:
            return
        if self._deaf and not self.pipeline:
            self.part()
            return
        if self._phase is _Phase.DONE and not self.pipeline:
            self._phase = _Phase.IDLE
        self._idle_since = self.loop.time()
        if self.pipeline or self.timeout_keep_alive_task is None:
            super().on_response_complete()
        else:  # as uvicorn's, but for the timer, which is there already
            self.server_state.total_requests += 1
            if not self.transport.is_closing():
                self.flow.resume_reading()
        if self.pipeline:  # those that wait are enough for now
            self.flow.pause_reading()

    def _unset_keepalive_if_required(self) -> None:
        """Leaves the timer alone while the connection lasts: it looks itself whether it is time, and a new one for each
        request is costly."""
        if self.transport.is_closing():
            super()._unset_keepalive_if_required()

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection that has been idle for long enough, or looks again when that may be."""
        self.timeout_keep_alive_task = None
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if self._phase is _Phase.IDLE and left <= 0:
            super().timeout_keep_alive_handler()
        elif not self.transport.is_closing():
            again = left if left > 0 else self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(again, self.timeout_keep_alive_handler)

    def pause_writing(self) -> None:
        """The client is slower than its answer."""
        super().pause_writing()
        self._slow_reader.begin()

    def resume_writing(self) -> None:
        """The client has nearly all of it."""
        self._slow_reader.end()
        super().resume_writing()

    # -- what the parser tells ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._phase = _Phase.HEAD
        self._head_size.begins()

    def on_headers_complete(self) -> None:
        """Checks the head as a whole before anything is done for it; an exception ends the parsing."""
        if self._blanks:
            heads.strip(self.headers)
        version = self.parser.get_http_version()
        self._check_head(version)
        if version == "1.0":  # it knows no 100 (RFC 9110 §10.1.1)
            self.expect_100_continue = False
        super().on_headers_complete()
        self.headers = Trailers()
        self.cycle.__class__ = Cycle  # uvicorn does not ask which
        self.cycle.transport = Parting(self.transport, self.part)  # type: ignore[assignment]  # has all that the cycle uses
        self._phase = _Phase.BODY
        self._discarded = 0
        self._pace = None

    def on_message_complete(self) -> None:
        """The request has arrived, unless it has a body that follows an offer of another protocol."""
        if self._framing:
            return
        super().on_message_complete()
        self._phase = _Phase.IDLE if self.cycle.response_complete else _Phase.DONE

    def _check_head(self, version: str) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            raise ValueError("too many requests at once; those before it get their answers")
        self._refusal = heads.problem(version, self._head_size.most, self.url, self.headers)
        if self._refusal:
            raise ValueError("this head is refused")
        if self.parser.should_upgrade():
            self._framing = upgrade.framing_of(self.headers)

    # -- patience -----------------------------------------------------------------------------------------------------

    def _watch(self, size: int, body_before: int) -> None:
        """Sets the time by which more must have come."""
        if self._phase is _Phase.DONE or (self._phase is _Phase.IDLE and self.cycle is not None):
            self._wait(0, None)  # what an idle connection waits for has a timer of its own
            return
        if self._phase is _Phase.BODY:
            self._watch_body(size, len(self.cycle.body) - body_before)
            return
        if self._phase is _Phase.HEAD and self._head_size.goes_on() > heads.MOST_BYTES:
            self._refuse(refusals.head_too_large())
            return
        if self._timer is None:
            self._wait(self._limits.head_seconds, self._head_is_late)

    def _watch_body(self, size: int, decoded: int) -> None:
        if self.cycle.response_complete:
            self._discarded += size
            if self._discarded > MOST_DISCARDED_BYTES:
                self.part()
                return
        if self._pace is None:
            self._pace = Pace(self._limits.body_seconds, self.loop.time())
        if self._pace.is_slow(size, self.loop.time()):
            self._body_is_late()
        elif self._pace.is_mostly_framing(size, decoded):
            self._refuse(refusals.malformed("the chunks of the body are too small, or have too many extensions"))
        else:
            self._wait(self._limits.body_seconds, self._body_is_late)

    def _wait(self, seconds: float, then: Callable[[], None] | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, then) if then else None

    def _head_is_late(self) -> None:
        self._timer = None
        if self._phase is _Phase.IDLE:
            self.transport.close()
        else:
            self._refuse(refusals.too_slow("the request head took too long"))

    def _body_is_late(self) -> None:
        self._timer = None
        if self.flow.read_paused:  # it is we who do not read
            self._wait(self._limits.body_seconds, self._body_is_late)
        else:
            self._refuse(refusals.too_slow("the request body took too long"))

    # -- parting ------------------------------------------------------------------------------------------------------

    def _refuse(self, refusal: Refusal) -> None:
        """Answers in place of the application, if nothing else has been answered, and closes the connection."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._phase is not _Phase.BODY:  # what is wrong is the next request; those before it get their answers
                cycle.keep_alive = False
                self._deaf = True
                return
            if self.pipeline:  # so do those before this one, which has not begun
                self.pipeline.popleft()
                self._deaf = True
                self._wait(0, None)
                return
            if cycle.response_started:
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        if cycle is None or not cycle.response_complete or self._phase is not _Phase.BODY:
            self.transport.write(refusals.written(refusal, self.server_state.default_headers))
        self.part()

    def part(self) -> None:
        """Closes the connection; a client that is still sending gets time to read its answer first, which a reset would
        take away (RFC 9112 §9.6)."""
        self._wait(0, None)
        super()._unset_keepalive_if_required()
        if self._phase is _Phase.DONE or not self.transport.can_write_eof():
            self.transport.close()
        elif not (self._parting or self.transport.is_closing()):
            self._parting = True
            self.flow.resume_reading()
            self.transport.write_eof()
            self._wait(LINGER_SECONDS, self.transport.close)
