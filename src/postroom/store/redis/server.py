"""What kind of Redis a connection leads to, and why it may not be used: no promise may rest on a wrong setting."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis.exceptions import ResponseError

from postroom.store.redis import faults

Durability = Literal["strict", "relaxed"]

LAYOUT = 3
LAYOUT_KEY = "postroom:layout"
QUESTIONS = (
    ("INFO",),
    ("CONFIG", "GET", "appendfsync"),
    ("CONFIG", "GET", "no-appendfsync-on-rewrite"),
    ("GET", LAYOUT_KEY),
)
OLDEST = (7, 0)  # scripts with flags
WAITAOF_SINCE = (7, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a server says of itself. Settings that it does not tell are None."""

    version: tuple[int, ...]
    mode: str
    role: str
    append_only: bool
    eviction: str
    fsync: str | None
    pauses_fsync: bool | None
    layout: int | None

    @property
    def waits_for_disk(self) -> bool:
        """Whether it has WAITAOF."""
        return self.version >= WAITAOF_SINCE


def read(replies: Sequence[Any]) -> Server:
    """The server behind the replies to `QUESTIONS`."""
    info, fsync, pauses, layout = replies
    lines = (line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    facts = dict(lines)
    pause = _setting(pauses)
    return Server(
        version=tuple(int(part) for part in facts["redis_version"].split(".") if part.isdigit()),
        mode=facts.get("redis_mode", "standalone"),
        role=facts.get("role", "master"),
        append_only=facts.get("aof_enabled") == "1",
        eviction=facts.get("maxmemory_policy", "noeviction"),
        fsync=_setting(fsync),
        pauses_fsync=None if pause is None else pause == "yes",
        layout=int(layout) if isinstance(layout, bytes) else None,
    )


def refuse_if_unfit(server: Server, address: str, durability: Durability) -> None:
    """Raises `Unfit` where this server cannot be what was asked for."""
    for problem in _unusable(server):
        raise faults.Unfit(f"Redis at {address} {problem}")
    if durability == "strict":
        for problem in losses(server):
            raise faults.Unfit(f"Redis at {address} {problem}, or accept losses: POSTROOM_REDIS_DURABILITY=relaxed")


def losses(server: Server) -> Iterator[str]:
    """Why an accepted email could be lost with this server."""
    if not server.append_only:
        yield "keeps nothing on disk: set `appendonly yes`"
    if server.eviction != "noeviction":
        policy = server.eviction
        yield f"would throw away emails when its memory is full: set `maxmemory-policy noeviction` (now {policy})"
    if server.fsync is None or server.pauses_fsync is None:
        yield "does not tell when it writes to disk: let our user run CONFIG GET"
    elif server.fsync == "no":
        yield "leaves it to chance when it writes to disk: set `appendfsync always`"
    elif server.fsync != "always" and not server.waits_for_disk:
        version = ".".join(str(part) for part in server.version)
        yield f"may lose the last second: set `appendfsync always`, or use Redis 7.2 or later (now {version})"
    if server.pauses_fsync:
        yield "stops writing to disk during rewrites: set `no-appendfsync-on-rewrite no`"


def _unusable(server: Server) -> Iterator[str]:
    if server.version < OLDEST:
        version = ".".join(str(part) for part in server.version)
        yield f"is too old: use Redis 7.0 or later (now {version})"
    if server.mode != "standalone":
        yield f"is not a single server (redis_mode {server.mode}), which is not supported: name a single server"
    if server.role != "master":
        yield "is a read-only replica: name the primary instead"
    if server.layout is not None and server.layout > LAYOUT:
        yield f"was used by a newer Postroom (layout {server.layout}, this one knows {LAYOUT}): upgrade Postroom"
    if server.layout is not None and server.layout < LAYOUT:
        yield (
            f"was used by a Postroom from before its first release (layout {server.layout}, this one knows {LAYOUT}): "
            "let that one send what is left, then use an empty database"
        )


def _setting(reply: Any) -> str | None:
    if isinstance(reply, ResponseError) or len(reply) < 2:
        return None
    return str(reply[1].decode())
