"""Every knob once: name, type, default, unit, sentence. Read from the environment (`POSTROOM_*`), checked together.

`docs/settings.md` is generated from here (`postroom settings`), and a test compares the two.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from postroom.errors import SettingsError

PREFIX = "POSTROOM_"
CLIENT_VARIABLES = frozenset({"POSTROOM_API_KEY", "POSTROOM_API_URL"})  # read by the command line, not by the service

MiB = 1024 * 1024


def _known_store(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith("sqlite:///"):
        raise ValueError("must be sqlite:///PATH (relative) or sqlite:////PATH (absolute)")
    return url


def _known_relay(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("smtp://", "smtps://", "simulated://")):
        raise ValueError("must begin with smtp://, smtps:// or simulated://")
    return url


Seconds = Annotated[float, Field(gt=0, le=86_400 * 366)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """All settings of one process. Durations are seconds unless the name says otherwise, sizes are bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    # -- what it is made of
    store_url: Annotated[SecretStr, AfterValidator(_known_store)] = Field(
        SecretStr("sqlite:///data/postroom.sqlite3"), description="Where emails are kept: `sqlite:///PATH`."
    )
    relay_url: Annotated[SecretStr, AfterValidator(_known_relay)] = Field(
        SecretStr("simulated://"),
        description="Where email goes: `smtp://user:pass@host:587`, `smtps://…`, or `simulated://`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least level that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="One event a line, for people or for machines.")

    # -- the API
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8022, ge=0, le=65_535, description="Port that the API listens on.")
    docs: bool = Field(True, description="Whether `/docs`, `/redoc` and `/openapi.json` are served.")
    max_body_bytes: Count = Field(42 * MiB, description="Largest request body.")
    max_json_depth: Count = Field(20, description="Deepest nesting of a request body.")
    max_recipients: Count = Field(50, le=1000, description="Most recipients (to, cc and bcc) of one email.")
    max_attachments: Count = Field(50, description="Most attachments of one email.")
    max_attachment_bytes: Count = Field(30 * MiB, description="All attachments of one email together, decoded.")
    max_text_bytes: Count = Field(2 * MiB, description="Longest `text` and longest `html`, each.")
    max_subject_chars: Count = Field(998, le=998, description="Longest subject.")
    max_metadata_bytes: Count = Field(16_384, description="Largest `metadata`, as JSON.")
    max_batch: Count = Field(100, le=1000, description="Most emails in one batch.")
    max_schedule_days: Count = Field(30, description="Furthest ahead that an email can be scheduled.")
    max_requests: Count = Field(1000, description="Requests under way at once; more are answered 503.")
    max_connections: Count = Field(4000, description="Open client connections; more are closed at once.")
    max_backlog: Count = Field(1_000_000, description="Unfinished emails in the store; with more, submissions get 503.")
    header_seconds: Seconds = Field(10, description="How long a client may take to send its request head.")
    body_seconds: Seconds = Field(15, description="How long a client may pause while it sends a body.")
    keep_alive_seconds: Seconds = Field(5, description="How long an idle client connection is kept.")
    rate_limit: int = Field(0, ge=0, description="Requests per second that one API key may make; 0 for no limit.")
    idempotency_hours: Seconds = Field(24, description="How long an idempotency key is remembered, in hours.")
    commit_linger_ms: float = Field(
        2, ge=0, le=100, description="How long a group commit waits for more submissions under load, in milliseconds."
    )

    # -- delivery
    worker_threads: int = Field(2, ge=1, le=64, description="Threads that deliver, in the embedded worker.")
    chunk_size: int = Field(100, ge=1, le=1000, description="Most emails in one wake-up, and in one claim.")
    lease_seconds: Seconds = Field(30, ge=1, description="How long a claim lasts before the final dot; it is renewed.")
    doubt_lease_seconds: Seconds = Field(
        120, ge=1, description="How long a claim lasts after the final dot; it is renewed."
    )
    attempt_seconds: Seconds = Field(900, ge=1, description="How long one attempt may take before its claim lapses.")
    max_attempts: Count = Field(
        25, le=1000, description="Attempts before an email has failed, unless it says otherwise."
    )
    max_age_hours: Seconds = Field(
        72, description="Age at which an email has failed, unless it says otherwise, in hours."
    )
    retry_base_seconds: Seconds = Field(60, description="Pause after the first transient outcome; doubles each time.")
    retry_cap_seconds: Seconds = Field(14_400, description="Longest pause between attempts.")
    route_delay_seconds: Seconds = Field(10, description="Pause after the relay itself was down or refused us.")
    doubt_delay_seconds: Seconds = Field(60, description="Shortest pause before an email in doubt is sent again.")
    return_path: str | None = Field(None, description="Envelope sender, where bounces go; the email's `from` if unset.")
    stop_seconds: Seconds = Field(10, description="How long a stop waits for hand-offs under way.")

    # -- the relay
    relay_connections: int = Field(20, ge=1, le=1000, description="Connections to the relay at once, in each process.")
    relay_ehlo_name: str | None = Field(None, description="The name that we greet the relay with; the host's if unset.")
    relay_ca_file: Path | None = Field(
        None, description="Certificate authorities to trust for the relay; the system's if unset."
    )
    relay_connect_seconds: Seconds = Field(15, description="Time-out for connecting.")
    relay_command_seconds: Seconds = Field(60, description="Time-out for the greeting and for each command.")
    relay_body_seconds: Seconds = Field(180, description="Time-out for each block of the body.")
    relay_dot_seconds: Seconds = Field(
        600, description="Time-out for the reply to the final dot. Shorter means more duplicates (RFC 5321 §4.5.3.2.6)."
    )
    simulated_min_seconds: float = Field(1, ge=0, le=600, description="Shortest time of a simulated hand-off.")
    simulated_max_seconds: float = Field(4, ge=0, le=600, description="Longest time of a simulated hand-off.")
    simulated_capacity: int = Field(2000, ge=1, le=100_000, description="Simulated hand-offs at once, in each thread.")

    # -- upkeep
    sweep_seconds: Seconds = Field(1, description="Pause between two sweeps.")
    wake_up_seconds: Seconds = Field(15, description="When a published email that nobody claimed is published again.")
    retention_days: Seconds = Field(30, description="How long finished emails are kept, in days.")


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads and checks all settings. Raises `SettingsError` with every mistake; no value of a secret is in it.

    A name ending in `_FILE` brings the value from that file, for secrets.
    """
    environ = os.environ if environ is None else environ
    values, problems = _values_from(environ)
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [f"{_variable(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
    if settings and settings.simulated_min_seconds > settings.simulated_max_seconds:
        problems.append("POSTROOM_SIMULATED_MIN_SECONDS: is above POSTROOM_SIMULATED_MAX_SECONDS")
    if problems or settings is None:
        raise SettingsError(problems)
    return settings


def _values_from(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    values: dict[str, str] = {}
    problems: list[str] = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in CLIENT_VARIABLES or variable.startswith("POSTROOM_TEST_"):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in Settings.model_fields:
            values[name] = environ[variable]
        elif name.endswith("_file") and name.removesuffix("_file") in Settings.model_fields:
            try:
                values[name.removesuffix("_file")] = Path(environ[variable]).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
                problems.append(f"{variable}: cannot read that file ({reason})")
        else:
            problems.append(f"{variable}: is not a setting; `postroom settings` lists them all")
    return values, problems


def _variable(location: tuple[int | str, ...]) -> str:
    return PREFIX + str(location[0]).upper() if location else "settings"


def reference() -> str:
    """The settings as a Markdown table, in the order of the class."""
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        shown = "unset" if default is None else f"`{default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"
