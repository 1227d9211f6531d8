"""Every knob once: name, type, default, unit, sentence. Read from the environment (`POSTROOM_*`), checked together.

`docs/settings.md` is generated from here (`postroom settings`), and a test compares the two.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from postroom.errors import SettingsError
from postroom.settings import checks
from postroom.settings.checks import SQLITE

__all__ = ["CLIENT_VARIABLES", "PREFIX", "SQLITE", "UNPREFIXED", "Settings", "load", "variable"]

PREFIX = "POSTROOM_"
UNPREFIXED = frozenset({"CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"})  # Celery and Flower read them by these names
PROXIES = "FORWARDED_ALLOW_IPS"  # read by the API's HTTP server itself
CLIENT_VARIABLES = frozenset({"POSTROOM_API_KEY", "POSTROOM_API_URL"})  # read by the command line, not by the service

MiB = 1024 * 1024

Seconds = Annotated[float, Field(gt=0, le=86_400 * 366)]
Hours = Annotated[float, Field(gt=0, le=24 * 366)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """All settings of one process. Durations are seconds unless the name says otherwise, sizes are bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(cls, *_: object, **sources: object) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` was handed: its variables may be others than this process has."""
        return (cast(PydanticBaseSettingsSource, sources["init_settings"]),)

    # -- what it is made of
    store_url: Annotated[SecretStr, AfterValidator(checks.known_store)] = Field(
        SecretStr("sqlite:///data/postroom.sqlite3"),
        description="Where emails are kept: `sqlite:///PATH`, with four slashes where it is absolute; or, for many"
        " processes, `mongodb://…` or `redis://…`.",
    )
    redis_durability: Literal["strict", "relaxed"] = Field(
        "strict", description="`relaxed` accepts a Redis that may lose what it acknowledged when its machine fails."
    )
    celery_broker_url: Annotated[SecretStr, AfterValidator(checks.known_broker)] = Field(
        SecretStr("amqp://guest:guest@127.0.0.1:5672//"),
        description="RabbitMQ, which carries wake-ups to workers; not used with SQLite.",
    )
    celery_result_backend: Annotated[SecretStr | None, AfterValidator(checks.known_results)] = Field(
        None,
        description="`mongodb://…` or `redis://…` for the counts of each chunk, kept for a day; the store if unset.",
    )
    relay_url: Annotated[SecretStr, AfterValidator(checks.known_relay)] = Field(
        SecretStr("simulated://"),
        description="Where email goes: `smtp://user:pass@host:587`, `smtps://…`, or `simulated://`. Special"
        " characters in user and password are percent-encoded: `/` is `%2F`, `@` is `%40`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")
    log_format: Literal["text", "json"] = Field("text", description="How events are written, one per line.")
    metrics_address: Annotated[str | None, AfterValidator(checks.known_listen_address)] = Field(
        None,
        description="`host:port` where each command serves `/metrics` for Prometheus, without a key; none if unset.",
    )

    # -- the API
    host: Annotated[str, AfterValidator(checks.named_host)] = Field(
        "127.0.0.1", description="Address that the API listens on."
    )
    port: int = Field(8022, ge=0, le=65_535, description="Port that the API listens on.")
    api_processes: int = Field(2, ge=1, le=64, description="Processes of `postroom serve`.")
    docs: bool = Field(True, description="Whether `/docs`, `/redoc` and `/openapi.json` are served.")
    max_body_bytes: Count = Field(42 * MiB, description="Largest request body.")
    max_json_depth: Count = Field(20, le=200, description="Deepest nesting of a request body.")
    max_recipients: Count = Field(50, le=1000, description="Most recipients (to, cc and bcc) of one email.")
    max_attachments: Count = Field(50, le=1000, description="Most attachments of one email.")
    max_attachment_bytes: Count = Field(30 * MiB, description="All attachments of one email together, decoded.")
    max_text_bytes: Count = Field(2 * MiB, description="Longest `text` and longest `html`, each.")
    max_subject_chars: Count = Field(998, le=998, description="Longest subject.")
    max_metadata_bytes: Count = Field(16_384, description="Largest `metadata`, as JSON.")
    max_batch: Count = Field(100, le=1000, description="Most emails in one batch.")
    bulk_batch_size: Count = Field(
        20, description="Emails of batches larger than this wait in the lane `bulk`, unless they have a `priority`."
    )
    max_schedule_days: Count = Field(30, le=36_500, description="Furthest ahead that an email can be scheduled.")
    max_requests: Count = Field(1000, description="Requests under way in each API process; more are answered 503.")
    max_bytes_under_way: Count = Field(
        256 * MiB, description="Bodies and large answers in memory in each API process; more are answered 503."
    )
    max_connections: Count = Field(
        4000,
        description="Open client connections in each API process; beyond that, idle ones close or new ones get 503.",
    )
    max_backlog: Count = Field(1_000_000, description="Unfinished emails in the store; with more, submissions get 503.")
    header_seconds: Seconds = Field(10, description="How long a client may take to send its request head.")
    body_seconds: Seconds = Field(
        15,
        description="How long a client may pause while it sends a body or reads an answer; less than 1 KiB/s over so"
        " long counts as a pause.",
    )
    keep_alive_seconds: Seconds = Field(  # longer than clients and proxies keep theirs: whoever reuses it closes it
        65, description="How long an idle client connection is kept; clients and proxies should close theirs sooner."
    )
    rate_limit: int = Field(
        0, ge=0, description="Requests per second that each API process takes with one API key; 0 for no limit."
    )
    idempotency_hours: Hours = Field(24, description="How long an idempotency key is remembered, in hours.")
    commit_linger_ms: float = Field(
        1, ge=0, le=100, description="How long a group commit waits for more submissions under load, in milliseconds."
    )

    # -- delivery
    worker_threads: int = Field(2, ge=1, le=64, description="Threads that deliver, in the embedded worker.")
    worker_processes: int = Field(2, ge=1, le=256, description="Child processes of `postroom worker`.")
    worker_niceness: int = Field(
        5,
        ge=0,
        le=19,
        description="Niceness of `postroom worker`: how far it gives way to the API and others on a busy host.",
    )
    worker_alive_file: Path | None = Field(
        None, description="File that a worker or a sweep touches every few seconds while it works, for health checks."
    )
    poll_seconds: Seconds = Field(
        10, description="How long a worker goes without a wake-up before it asks the store itself."
    )
    chunk_size: int = Field(
        100,
        ge=1,
        le=1000,
        description="Most emails in one claim and in one wake-up; under sustained load a wake-up names up to 1000.",
    )
    lease_seconds: Seconds = Field(30, ge=1, description="How long a claim lasts before the final dot; it is renewed.")
    doubt_lease_seconds: Seconds = Field(
        120, ge=1, description="How long a claim lasts after the final dot; it is renewed."
    )
    attempt_seconds: float = Field(  # a turn of ten minutes with an attempt at its end must end before its task does
        900, ge=1, le=1000, description="How long an attempt may take; must be above `POSTROOM_RELAY_DOT_SECONDS`."
    )
    max_attempts: Count = Field(
        25, le=1000, description="Attempts after which an email fails; an email may have a limit of its own."
    )
    max_age_hours: Hours = Field(
        72,
        description="Hours after which an email fails, counted from its acceptance, its scheduled time or a retry by"
        " hand; an email may have a deadline of its own.",
    )
    retry_base_seconds: Seconds = Field(
        60, description="Pause after the first transient outcome, doubled each time, times a random ½ to 1."
    )
    retry_cap_seconds: Seconds = Field(14_400, description="Longest pause between attempts, before the random factor.")
    route_delay_seconds: Seconds = Field(
        10, description="Pause after the relay was down or refused Postroom itself, times a random ½ to 1."
    )
    doubt_delay_seconds: Seconds = Field(
        60, description="Shortest pause before an email in doubt is sent again; none when `postroom run` starts."
    )
    return_path: Annotated[str | None, AfterValidator(checks.known_address)] = Field(
        None, description="Envelope sender, where bounces go; the email's `from` if unset."
    )
    stop_seconds: Seconds = Field(10, description="How long a stop waits for hand-offs under way.")

    # -- the relay
    relay_connections: int = Field(
        40, ge=1, le=1000, description="Connections to the relay at once, in each worker process or embedded thread."
    )
    relay_ehlo_name: str | None = Field(
        None,
        description="Full name with which the relay is greeted. If unset, the host's, or where that has no dot, as in a"
        " container, the address from which it is connected to.",
    )
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
    wake_up_seconds: Seconds = Field(
        15, description="Seconds after which an email that no worker has claimed is published again."
    )
    retention_days: float = Field(30, gt=0, le=36_500, description="How long finished emails are kept, in days.")


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads and checks all settings. Raises `SettingsError` with every mistake; no value of a secret is in it.

    A name ending in `_FILE` names a file that holds the value, for secrets.
    """
    environ = os.environ if environ is None else environ
    values, problems = _values_from(environ)
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [f"{variable(str(e['loc'][0]))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
    try:
        checks.known_proxies(environ.get(PROXIES, ""))
    except ValueError as error:
        problems.append(f"{PROXIES}: {error}")
    if settings:
        problems += _contradictions(settings)
    if problems or settings is None:
        raise SettingsError(problems)
    return settings


def _contradictions(settings: Settings) -> list[str]:
    """What is wrong with values that each alone would do."""
    problems: list[str] = []
    if settings.simulated_min_seconds > settings.simulated_max_seconds:
        problems.append("POSTROOM_SIMULATED_MIN_SECONDS: is above POSTROOM_SIMULATED_MAX_SECONDS")
    if settings.attempt_seconds <= settings.relay_dot_seconds:
        problems.append(
            "POSTROOM_ATTEMPT_SECONDS: must be above POSTROOM_RELAY_DOT_SECONDS, or an email may go out twice"
        )
    if settings.attempt_seconds <= settings.simulated_max_seconds:
        problems.append("POSTROOM_ATTEMPT_SECONDS: must be above POSTROOM_SIMULATED_MAX_SECONDS")
    return problems


def _values_from(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    values: dict[str, str] = {}
    problems: list[str] = []
    fields = {variable(name): name for name in Settings.model_fields}
    for given in sorted(environ):
        setting = given.removesuffix("_FILE")
        if setting != given and setting in fields and setting in environ:
            problems.append(f"{given}: {setting} is set as well; keep one of the two")
        elif given in fields:
            values[fields[given]] = environ[given]
        elif setting in fields:
            try:
                values[fields[setting]] = Path(environ[given]).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
                problems.append(f"{given}: cannot read that file ({reason})")
        elif _is_ours(given):
            problems.append(f"{given}: is not a setting; `postroom settings` lists them all")
    return values, problems


def _is_ours(given: str) -> bool:
    ours = given.startswith(PREFIX) and not given.startswith("POSTROOM_TEST_")
    return ours and given not in CLIENT_VARIABLES


def variable(name: str) -> str:
    """The environment variable of a setting."""
    upper = name.upper()
    return upper if upper in UNPREFIXED else PREFIX + upper
