"""Serves the application on a listening socket: uvicorn, its fast loop and parser, and our protocol."""

import gc
import socket
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI

from postroom.api.http.protocol import GuardedProtocol, Limits
from postroom.settings import Settings

GRACE_SECONDS = 15  # how long a stop waits for requests under way


def server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """A server for the application. Its `run(sockets=[…])` returns after a signal, or once `should_exit` is set."""
    limits = Limits(
        connections=settings.max_connections,
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


def serve(app: FastAPI, settings: Settings, listening: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT, then finishes the requests under way. Closes the socket."""
    gc.collect()
    gc.freeze()  # what is there now stays for ever
    gc.set_threshold(20_000, 20, 100)  # a request makes some hundred objects, none of them in cycles
    server(app, settings).run(sockets=[listening])
