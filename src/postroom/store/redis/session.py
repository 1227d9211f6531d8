"""One connection and one time limit: commands go out together, replies come in order, doubt is told from failure."""

from collections.abc import Sequence
from typing import TypeAlias

import hiredis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from postroom.store.redis import faults
from postroom.store.redis.scripts import Script
from postroom.store.redis.wire import Reply, Wire

Argument: TypeAlias = str | bytes | int
Command: TypeAlias = tuple[Argument, ...]

DISK_MILLISECONDS = 2000  # `appendfsync everysec` takes up to one second, on a disk that keeps up


class Session:
    """What one call says to Redis. `answers` are the replies to what it asked at the beginning."""

    def __init__(self, wire: Wire, address: str, deadline: float) -> None:
        self.wire = wire
        self.address = address
        self.deadline = deadline
        self.waits_for_disk = False
        self.answers: list[Reply] = []

    def ask(self, *command: Argument) -> Reply:
        """The reply to one command that changes nothing."""
        return self.ask_all([command])[0]

    def ask_all(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to commands that change nothing."""
        replies = self.exchange(commands)
        self._raise_refusal(replies)
        return replies

    def write(self, *commands: Command, durable: bool) -> list[Reply]:
        """The replies to commands that change something; once they are on disk, if `durable`.

        Raises `StoreUnavailable` when Redis has refused them, `OutcomeUnknown` when it may have taken them.
        """
        waiting = [("WAITAOF", 1, 0, DISK_MILLISECONDS)] if durable and self.waits_for_disk else []
        replies = self.exchange([*commands, *waiting], in_doubt=True)
        done = replies[: len(commands)]
        self._raise_refusal(done)
        if waiting and (isinstance(replies[-1], ResponseError) or replies[-1][0] < 1):
            raise faults.not_on_disk(self.address)
        return done

    def run(self, script: Script, *arguments: Argument, durable: bool = False) -> Reply:
        """What a script that changes something returns."""
        try:
            return self.write(("EVALSHA", script.sha, 0, *arguments), durable=durable)[0]
        except NoScriptError:  # a restarted Redis remembers no scripts
            return self.write(("EVAL", script.source, 0, *arguments), durable=durable)[0]

    def read(self, script: Script, *arguments: Argument) -> Reply:
        """What a script that changes nothing returns."""
        return self.read_and_ask(script, arguments, ())[0]

    def read_and_ask(self, script: Script, arguments: Sequence[Argument], commands: Sequence[Command]) -> list[Reply]:
        """What a script that changes nothing returns, and after it the replies to commands that change nothing."""
        try:
            return self.ask_all([("EVALSHA", script.sha, 0, *arguments), *commands])
        except NoScriptError:
            return self.ask_all([("EVAL", script.source, 0, *arguments), *commands])

    def exchange(self, commands: Sequence[Command], *, in_doubt: bool = False) -> list[Reply]:
        """Sends commands and reads their replies, refusals included. A broken link raises `OutcomeUnknown` if the
        commands leave doubt, else `StoreUnavailable`."""
        try:
            return self.wire.exchange(_packed(commands), len(commands), deadline=self.deadline)
        except (RedisError, OSError) as error:
            raise faults.of_connection(self.address, error, in_doubt=in_doubt) from error

    def _raise_refusal(self, replies: Sequence[Reply]) -> None:
        refusal = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
        if isinstance(refusal, NoScriptError):
            raise refusal
        if refusal is not None:
            raise faults.of_reply(self.address, refusal) from refusal


def _packed(commands: Sequence[Command]) -> bytes:
    """Commands in Redis's protocol, all in one piece. The driver's own packer makes pieces of six kilobytes and sends
    each by itself, which costs a group commit half of its time."""
    return b"".join([hiredis.pack_command(command) for command in commands])  # type: ignore[arg-type]  # it takes any length
