"""How commands speak: one sentence and an exit code for trouble, text for people or JSON for machines."""

import functools
import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn, ParamSpec

import click

from postroom.errors import PostroomError, SettingsError

P = ParamSpec("P")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def show(value: Any, lines: list[str], *, as_json: bool) -> None:
    """Prints the value as JSON, or the lines, of which there may be none."""
    if as_json:
        say(json.dumps(value, indent=2, ensure_ascii=False, default=_times))
    elif lines:
        say("\n".join(lines))


def say(text: str) -> None:
    """Prints text on standard output. Ends the process with a sentence where that cannot be written to."""
    try:
        click.echo(text)
    except BrokenPipeError:
        raise  # the reader has seen enough, of which click knows what to make
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would try, and fail, once more
        fail(f"cannot write to standard output ({error.strerror})")


def _times(value: object) -> str:
    """Times as ISO 8601; there is nothing else that JSON does not know."""
    if not isinstance(value, datetime):
        raise TypeError(type(value).__name__)
    return value.isoformat()


def standard_input() -> str:
    """All of standard input. Ends the process with a sentence where it is not text."""
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        fail("standard input is not UTF-8", code=2)


def fail(sentence: str, *, code: int = 1) -> NoReturn:
    """Says what is wrong on standard error, and ends."""
    click.echo(f"postroom: {sentence}", err=True)
    raise SystemExit(code)


def clear_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turns the errors that Postroom raises on purpose into sentences and exit codes."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SettingsError as error:
            for problem in error.problems:
                click.echo(f"postroom: {problem}", err=True)
            raise SystemExit(2) from None
        except PostroomError as error:
            fail(str(error))

    return guarded
