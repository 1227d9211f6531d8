"""What Postroom says about itself: one event a line, the same keys everywhere, never an address or a content.

The keys, where they apply: `email_id`, `attempt`, `worker`, `relay`, `lane`, `count`, `seconds`, `reason`, `key_id`,
`request_id`, `version`, `address`, and the verdicts of a turn with their counts.

| event                 | level   | when |
| --- | --- | --- |
| started / stopped     | info    | a process begins to serve, or has handed everything back |
| key created           | info    | an API key was made over the API |
| key revoked           | info    | an API key was revoked over the API |
| turn ended            | info    | a worker's turn is over, and it had emails: recipients by verdict |
| email failed          | warning | Postroom stopped trying |
| email not composed    | error   | the worker lacks memory or files; the email is tried again in five seconds |
| relay down / relay up | error / info | the circuit breaker opened or closed |
| relay not encrypted   | warning | STARTTLS does not work where it is opportunistic; left out for so many seconds |
| claim had lapsed      | warning | a worker finished what had been taken from it meanwhile |
| claims recovered      | warning | claims lapsed and went back |
| emails expired        | warning | deadlines passed |
| wake-up not published | warning | the broker did not confirm; the sweep will |
| wake-up dead-lettered | error   | a worker cannot read a wake-up; it is kept in the queue `postroom.dead` |
| broker unavailable    | error   | a worker cannot reach it; work goes on without it |
| broker refuses us     | error   | user, password, virtual host, arguments or name are wrong; work goes on without it |
| queue not consumed    | error   | a dashboard asked a worker to consume a queue that is not ours |
| API process died      | error   | another one takes its place; or its parent was killed |
| connections limited   | warning | the limit of open files allows fewer client connections than are set |
| fence failed          | warning | the store did not answer before the final dot; it was not written |
| email unreadable      | error   | a record is damaged or of a newer version; it is left for a minute |
| store may lose emails | warning | Redis runs with `relaxed` durability |
| clock set back        | warning | the store's was, by so many seconds; time slows down until it has caught up |
| store not rolled back | error   | SQLite could not undo a write that failed; the next one tries again |
| store not checkpointed | warning | SQLite's log stays for the next start to read; harmless |
| cannot touch POSTROOM_WORKER_ALIVE_FILE | warning | a health check will take this process for dead |
| store unavailable     | error   | the store did not answer; work goes on when it does |
| unexpected error      | error   | a bug, with its traceback |

What is away or cannot be read is asked for again and again, by many: such a line is written once in five seconds, not
for each question.
"""

import json
import logging
import math
import sys
import time
from datetime import UTC, datetime
from typing import Any, Literal

LEAST_LEVELS = {
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "pymongo": logging.INFO,  # below it are whole commands, with every email that is stored
    "amqp": logging.INFO,
}

REPEATED = frozenset({"store unavailable", "wake-up not published", "email unreadable", "email not composed"})
QUIET_SECONDS = 5.0  # between two of these lines with one reason, in one process

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def set_up(level: str, form: Literal["text", "json"]) -> None:
    """Sends all logging of the process to standard error, one event a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines() if form == "text" else _JsonLines())
    handler.addFilter(_Repeats())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    quieten()


def quieten() -> None:
    """Keeps libraries from logging what they carry, at whatever level we log ourselves."""
    for name, least in LEAST_LEVELS.items():
        logging.getLogger(name).setLevel(least)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _PLAIN}


class _Repeats(logging.Filter):
    """Leaves out what was said just now."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        event = record.getMessage()
        if event not in REPEATED:
            return True
        line, now = (event, getattr(record, "reason", None)), time.monotonic()
        if now - self._said.get(line, -math.inf) < QUIET_SECONDS:
            return False
        # Of a copy: other threads log meanwhile, and no lock is held here.
        self._said = {said: at for said, at in self._said.copy().items() if now - at < QUIET_SECONDS}
        self._said[line] = now
        return True


class _Lines(logging.Formatter):
    """`time level event key=value …`, control characters escaped so that nobody can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        pairs = [f"{key}={_escaped(str(value))}" for key, value in _extra(record).items()]
        when = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        line = " ".join([when, record.levelname.lower(), _escaped(record.getMessage()), *pairs])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonLines(logging.Formatter):
    """One JSON object a line; times in UTC, whatever the host's zone."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps({**entry, **_extra(record)}, default=str)


def _escaped(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
