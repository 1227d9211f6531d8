"""Serves the application on a listening socket: uvicorn, its fast loop and parser, and our protocol."""

import gc
import logging
import resource
import socket
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI

from postroom.api.http.protocol import GuardedProtocol, Limits
from postroom.settings import Settings

log = logging.getLogger(__name__)

OTHER_FILES = 512  # open files of a process beside its clients' connections: store, broker, relay, itself
GRACE_SECONDS = 15  # how long a stop waits for requests under way


def server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """A server for the application. Its `run(sockets=[…])` returns after a signal, or once `should_exit` is set."""
    limits = Limits(
        connections=connections_that_fit(settings.max_connections),
        head_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
    )
    config = uvicorn.Config(
        app.build_middleware_stack(),  # past two calls that would only lead here
        http=cast(type[GuardedProtocol], partial(GuardedProtocol, limits=limits)),
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        proxy_headers=False,  # asked for where it matters: `Exchange.client`
        server_header=False,
        log_config=None,
        log_level="error",
        timeout_keep_alive=cast(int, settings.keep_alive_seconds),
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def connections_that_fit(wanted: int) -> int:
    """How many connections this process may have open; raises its limit of open files for them as far as it may. With
    more than it can open, it could neither answer anybody nor deliver."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= files:
        return wanted
    count = max(1, soft - OTHER_FILES)
    log.warning("connections limited", extra={"count": count, "reason": f"the limit of open files is {soft}"})
    return count


def serve(app: FastAPI, settings: Settings, listening: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT, then finishes the requests under way. Closes the socket."""
    gc.collect()
    gc.freeze()  # what is there now stays for ever
    gc.set_threshold(20_000, 20, 100)  # a request makes some hundred objects, none of them in cycles
    server(app, settings).run(sockets=[listening])
