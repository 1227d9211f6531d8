"""Commands about API keys. They open the store; while a running Postroom owns it, they ask that one over the API."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from postroom import keyring, wiring
from postroom import settings as settings_module
from postroom.api import render
from postroom.cli.client import call, key_option, path_of, url_option
from postroom.cli.output import as_json, clear_errors, fail, show, standard_input
from postroom.errors import StoreLocked
from postroom.mail import api_key
from postroom.store.base import Store


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""


@contextmanager
def _own_store() -> Iterator[Store | None]:
    """The store, or None while another process owns it."""
    settings = settings_module.load()
    file = wiring.sqlite_file(settings)
    missing = file is not None and not file.exists()
    try:
        store = wiring.open_store(settings)
    except StoreLocked:
        yield None
        return
    if file and missing:
        click.echo(f"postroom: there was no store yet; {file.absolute()} is new", err=True)
    try:
        yield store
    finally:
        store.close()


@keys.command()
@click.argument("name", default="cli")
@click.option("--sending-only", is_flag=True, help="The key may submit emails and nothing else.")
@click.option("--domain", "domains", multiple=True, help="Only senders of this domain; may be repeated.")
@click.option(
    "--account", default=keyring.DEFAULT_ACCOUNT, show_default=True, help="Account whose emails the key reaches."
)
@url_option
@key_option
@as_json
@clear_errors
def create(
    name: str, sending_only: bool, domains: tuple[str, ...], account: str, url: str, key: str | None, as_json: bool
) -> None:
    """Make a key and print it. It cannot be shown again."""
    scopes = api_key.SENDING_ACCESS if sending_only else api_key.FULL_ACCESS
    with _own_store() as store:
        if store:
            made, token = keyring.create(account, name, scopes=scopes, domains=domains, store=store)
            answer = {"id": made.id, "token": token}
        elif account != keyring.DEFAULT_ACCOUNT:
            fail("a running Postroom owns the store, and makes keys for its caller's account only; stop it first")
        else:
            permission = "sending_access" if sending_only else "full_access"
            body = {"name": name, "permission": permission, "domains": list(domains)}
            answer = call("POST", "/api-keys", url=url, key=key, body=body)
    show(answer, [answer["token"]], as_json=as_json)


@keys.command()
def mint() -> None:
    """Print a new key without storing it.

    `postroom keys add` makes it valid.
    """
    click.echo(api_key.mint()[1])


@keys.command()
@click.argument("name", default="cli")
@clear_errors
def add(name: str) -> None:
    """Store a key that `postroom keys mint` printed.

    Reads it from standard input; it gets full access. Does nothing if the store has it already.
    """
    token = standard_input().strip()
    with _own_store() as store:
        if store is None:
            fail("a running Postroom owns the store: stop it first, or use `postroom keys create`")
        if not keyring.add(token, name, store=store):
            fail("that is not a key: `postroom keys mint` prints one")
    click.echo("the key is valid, unless it was revoked")


@keys.command("list")
@url_option
@key_option
@as_json
@clear_errors
def list_keys(url: str, key: str | None, as_json: bool) -> None:
    """List API keys, without their secrets."""
    with _own_store() as store:
        if store:
            found: list[dict[str, Any]] = [dict(render.key(k)) for k in store.list_keys()]
        else:
            found = call("GET", "/api-keys", url=url, key=key)["data"]
    lines = [
        f"{k['id']}  {k['permission']:<15} {'revoked' if k['revoked_at'] else 'active':<8} {k['name']}" for k in found
    ]
    show(found, lines, as_json=as_json)


@keys.command()
@click.argument("key_id")
@url_option
@key_option
@as_json
@clear_errors
def revoke(key_id: str, url: str, key: str | None, as_json: bool) -> None:
    """Revoke a key for good; running processes notice within 5 seconds."""
    with _own_store() as store:
        if store is None:
            call("DELETE", path_of("api-keys", key_id), url=url, key=key)
        elif not store.revoke_key(key_id, now=store.clock()):
            fail("there is no such key; `postroom keys list` shows them")
    show({"id": key_id, "revoked": True}, [f"{key_id} revoked"], as_json=as_json)
