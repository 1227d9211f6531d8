"""Commands about emails, over the API: send, status, list, cancel, retry."""

import base64
from pathlib import Path
from typing import Any

import click

from postroom.cli.client import as_header, call, key_option, path_of, request, url_option
from postroom.cli.following import follow
from postroom.cli.output import as_json, clear_errors, fail, show, standard_input
from postroom.errors import EndUnknown

END_UNKNOWN = 3  # the exit code


def _idempotency_key(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """As given, for a repeated submission must have the very same; an empty one would protect from nothing."""
    return None if given is None else as_header(given, "--idempotency-key")


@click.command()
@click.option("--from", "sender", required=True, help="Sender, such as 'Ann <ann@example.com>'.")
@click.option("--to", multiple=True, required=True, help="Recipient; may be repeated.")
@click.option("--cc", multiple=True, help="Copy recipient; may be repeated.")
@click.option("--bcc", multiple=True, help="Blind copy recipient; may be repeated.")
@click.option("--reply-to", multiple=True, help="Address for replies; may be repeated.")
@click.option("--subject", required=True)
@click.option("--text", help="Plain text; '-' reads it from standard input.")
@click.option("--html", help="HTML; '-' reads it from standard input.")
@click.option(
    "--attach",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file; may be repeated.",
)
@click.option("--at", "scheduled_at", help="When: 'in 5 minutes', 'tomorrow at 9am', 2026-12-24T18:00:00Z.")
@click.option("--priority", type=click.Choice(["urgent", "normal", "bulk"]))
@click.option(
    "--idempotency-key", callback=_idempotency_key, help="Submitting again with the same key sends no second email."
)
@click.option("--wait", is_flag=True, help="Wait until the email has ended, and show it.")
@url_option
@key_option
@as_json
@clear_errors
def send(url: str, key: str | None, as_json: bool, wait: bool, idempotency_key: str | None, **options: Any) -> None:
    """Submit one email and print its id.

    Exit codes: 0 accepted, and with --wait, ended in whatever way; 1 refused, or no answer; 2 wrong usage; 3 with
    --wait, accepted, but its end cannot be learned. After 3, do not submit it again: `postroom status ID` tells more.
    After 1, submitting again is safe with --idempotency-key.
    """
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
    answer = call("POST", "/emails", url=url, key=key, body=_body(**options), headers=headers)
    if not wait:
        show(answer, [answer["id"]], as_json=as_json)
        return
    try:
        email = _wait(answer["id"], answer.get("status", "accepted"), url=url, key=key)
    except EndUnknown as error:
        show(answer, [answer["id"]], as_json=as_json)
        fail(f"{answer['id']} was accepted, but its end is not known: {error}", code=END_UNKNOWN)
    show(email, _story(email), as_json=as_json)


def _body(
    *, sender: str, text: str | None, html: str | None, attach: tuple[Path, ...], **options: Any
) -> dict[str, Any]:
    members = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    members |= {"from": sender, "text": _content(text), "html": _content(html)}
    if attach:
        members["attachments"] = [
            {"filename": path.name, "content": base64.b64encode(path.read_bytes()).decode()} for path in attach
        ]
    return {name: value for name, value in members.items() if value not in (None, [])}


def _content(option: str | None) -> str | None:
    return standard_input() if option == "-" else option


def _wait(email_id: str, status: str, *, url: str, key: str | None) -> dict[str, Any]:
    """Follows an email until it has ended, telling its status on standard error. Raises `EndUnknown`."""
    shown = ""

    def tell(status: str) -> None:
        nonlocal shown
        if status != shown:
            shown = status
            click.echo(f"{email_id} {shown}", err=True)

    tell(status)
    try:
        return follow(lambda: request("GET", path_of("emails", email_id), url=url, key=key), tell=tell)
    except KeyboardInterrupt:
        raise EndUnknown("the wait was interrupted") from None


@click.command()
@click.argument("email_id")
@url_option
@key_option
@as_json
@clear_errors
def status(email_id: str, url: str, key: str | None, as_json: bool) -> None:
    """Show an email, its recipients and its timeline."""
    email = call("GET", path_of("emails", email_id), url=url, key=key)
    show(email, _story(email), as_json=as_json)


def _story(email: dict[str, Any]) -> list[str]:
    lines = [f"{email['id']}  {email['status']}", f"subject   {email['subject']}", f"from      {email['from']}"]
    for recipient in email["recipients"]:
        reason = f"  {recipient['smtp_code'] or ''} {recipient['message'] or ''}".rstrip()
        lines.append(f"{recipient['kind']:<9} {recipient['address']}  {recipient['status']}{reason}")
    if email["next_attempt_at"]:
        lines.append(f"next try  {email['next_attempt_at']}")
    if email["possible_duplicate"]:
        lines.append("note      it may have been delivered twice")
    for event in email["timeline"]:
        detail = "  ".join(f"{name}={value}" for name, value in (event["detail"] or {}).items())
        lines.append(f"  {event['at']}  {event['event']}  {detail}".rstrip())
    return lines


@click.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100))
@click.option("--after", help="The emails older than this id.")
@click.option("--before", help="The emails newer than this id.")
@click.option("--status", help="Only this status.")
@click.option("--to", help="Only to this address.")
@click.option("--subject", help="Only subjects that begin so.")
@click.option("--tag", help="Only this tag: NAME or NAME:VALUE.")
@url_option
@key_option
@as_json
@clear_errors
def list_emails(url: str, key: str | None, as_json: bool, limit: int, **filters: str | None) -> None:
    """List emails, newest first."""
    query = {"limit": str(limit), **{name: value for name, value in filters.items() if value}}
    page = call("GET", "/emails", url=url, key=key, query=query)
    lines = [f"{e['id']}  {e['status']:<10} {e['created_at']}  {', '.join(e['to'])}" for e in page["data"]]
    if page["has_more"]:
        newer = filters["before"] is not None
        lines.append(f"more: {'--before' if newer else '--after'} {page['data'][0 if newer else -1]['id']}")
    show(page, lines, as_json=as_json)


@click.command()
@click.argument("email_id")
@url_option
@key_option
@as_json
@clear_errors
def cancel(email_id: str, url: str, key: str | None, as_json: bool) -> None:
    """Cancel an email that no worker has taken yet."""
    answer = call("POST", path_of("emails", email_id, "cancel"), url=url, key=key)
    show(answer, [f"{email_id} canceled"], as_json=as_json)


@click.command()
@click.argument("email_id")
@url_option
@key_option
@as_json
@clear_errors
def retry(email_id: str, url: str, key: str | None, as_json: bool) -> None:
    """Queue a failed, uncertain or canceled email again."""
    answer = call("POST", path_of("emails", email_id, "retry"), url=url, key=key)
    show(answer, [f"{email_id} queued"], as_json=as_json)
