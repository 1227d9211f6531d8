"""The command that prints the settings' reference."""

import click

from postroom.cli.output import say
from postroom.settings import reference


@click.command()
def settings() -> None:
    """Print all settings.

    Each with its default, values and meaning, as Markdown.
    """
    say(reference.table().removesuffix("\n"))
