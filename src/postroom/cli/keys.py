"""Commands about API keys. With a key or an address of the API they ask that; without, they open the store, which they
cannot while a running Postroom owns it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import click

from postroom import keyring, wiring
from postroom import settings as settings_module
from postroom.api import render
from postroom.cli.client import call, key_option, path_of, url_given, url_option
from postroom.cli.output import as_json, clear_errors, fail, say, show, standard_input
from postroom.errors import ServiceUnreachable, SettingsError, StoreLocked
from postroom.mail import api_key
from postroom.store.base import Store


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""


@contextmanager
def _store_unless_asked(url: str, key: str | None) -> Iterator[Store | None]:
    """The store that is there; None where the API is to be asked. Makes none: it would have no key but useless ones."""
    if key or url_given():
        yield None
        return
    if file := wiring.missing_store(settings_module.load()):
        fail(
            f"there is no store at {file.absolute()}: start in the service's folder or set POSTROOM_STORE_URL as for "
            f"the service, or set POSTROOM_API_KEY, and the Postroom at {url} is asked"
        )
    with _own_store() as store:
        yield store


@contextmanager
def _own_store() -> Iterator[Store | None]:
    """The store, made if need be; None while another process owns it."""
    settings = settings_module.load()
    missing = wiring.missing_store(settings)
    try:
        store = wiring.open_store(settings)
    except StoreLocked:
        yield None
        return
    if missing:
        click.echo(f"postroom: there was no store yet; {missing.absolute()} is new", err=True)
    try:
        yield store
    finally:
        store.close()


def _ask(method: str, path: str, *, url: str, key: str | None, body: Any = None) -> Any:
    """Asks the API. Where that cannot be done, says what works with the store itself."""
    if not key and url_given():
        fail(
            "no API key: with --url or POSTROOM_API_URL the Postroom there is asked, which needs POSTROOM_API_KEY; if "
            "the key is lost, stop the service and run `postroom keys create` without them",
            code=2,
        )
    try:
        return call(method, path, url=url, key=key, body=body)
    except ServiceUnreachable as error:
        fail(f"{error}{_store_instead()}")


def _store_instead() -> str:
    try:
        settings = settings_module.load()
    except SettingsError:
        return ""
    file = wiring.sqlite_file(settings)
    if file is None or wiring.missing_store(settings):
        return ""
    return f" While it is stopped, `postroom keys` works on {file.absolute()} once API key and address are unset"


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
    with nullcontext() if key or url_given() else _own_store() as store:
        if store:
            made, token = keyring.create(account, name, scopes=scopes, domains=domains, store=store)
            answer = {"id": made.id, "token": token}
        elif account != keyring.DEFAULT_ACCOUNT:
            fail("a running Postroom makes keys for its caller's account only: stop it, and unset API key and address")
        else:
            permission = "sending_access" if sending_only else "full_access"
            body = {"name": name, "permission": permission, "domains": list(domains)}
            answer = _ask("POST", "/api-keys", url=url, key=key, body=body)
    show(answer, [answer["token"]], as_json=as_json)


@keys.command()
def mint() -> None:
    """Print a new key without storing it.

    `postroom keys add` makes it valid.
    """
    say(api_key.mint()[1])


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
    say("the key is valid, unless it was revoked")


@keys.command("list")
@click.option("--revoked", is_flag=True, help="Also those that were revoked.")
@url_option
@key_option
@as_json
@clear_errors
def list_keys(revoked: bool, url: str, key: str | None, as_json: bool) -> None:
    """List API keys, without their secrets."""
    with _store_unless_asked(url, key) as store:
        if store:
            found: list[dict[str, Any]] = [dict(render.key(one)) for one in store.list_keys(revoked_too=revoked)]
        else:
            found = _ask("GET", f"/api-keys?revoked={str(revoked).lower()}", url=url, key=key)["data"]
    now = datetime.now(UTC)
    show(found, [_line(key, now) for key in found], as_json=as_json)


def _line(key: dict[str, Any], now: datetime) -> str:
    bound = f"  (only for senders of {', '.join(key['domains'])})" if key["domains"] else ""
    return f"{key['id']}  {key['permission']:<15} {_state(key, now):<8} {key['name']}{bound}"


def _state(key: dict[str, Any], now: datetime) -> str:
    expires: datetime | str | None = key["expires_at"]
    if key["revoked_at"]:
        return "revoked"
    if isinstance(expires, str):  # as the API writes it
        expires = datetime.fromisoformat(expires)
    return "expired" if expires and expires <= now else "active"


@keys.command()
@click.argument("key_id")
@url_option
@key_option
@as_json
@clear_errors
def revoke(key_id: str, url: str, key: str | None, as_json: bool) -> None:
    """Revoke a key for good; running processes notice within 5 seconds."""
    with _store_unless_asked(url, key) as store:
        if store is None:
            _ask("DELETE", path_of("api-keys", key_id), url=url, key=key)
        elif not key_id.isascii() or not store.revoke_key(key_id, now=store.clock()):
            fail("there is no such key; `postroom keys list` shows them")
    show({"id": key_id, "revoked": True}, [f"{key_id} revoked"], as_json=as_json)
