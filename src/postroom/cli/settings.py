"""The command that prints the settings' reference."""

import click

from postroom import settings as settings_module


@click.command()
def settings() -> None:
    """Print every setting with its default and meaning, as Markdown."""
    click.echo(settings_module.reference(), nl=False)
