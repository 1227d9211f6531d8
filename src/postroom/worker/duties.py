"""What every kind of worker and sweep takes from the settings: the constants of a turn, and the duties of upkeep."""

from datetime import timedelta
from functools import partial

from postroom import deliver, sweep
from postroom.mail.retry import RetryPolicy
from postroom.queue.base import Queue
from postroom.settings import Settings
from postroom.store.base import Store

PRUNE_SECONDS = 60.0


def turn_settings_of(settings: Settings) -> deliver.TurnSettings:
    """The constants of a turn."""
    policy = RetryPolicy(
        base=timedelta(seconds=settings.retry_base_seconds),
        cap=timedelta(seconds=settings.retry_cap_seconds),
        route_delay=timedelta(seconds=settings.route_delay_seconds),
        doubt_delay=timedelta(seconds=settings.doubt_delay_seconds),
    )
    return deliver.TurnSettings(
        policy=policy,
        lease=timedelta(seconds=settings.lease_seconds),
        doubt_lease=timedelta(seconds=settings.doubt_lease_seconds),
        attempt_limit=timedelta(seconds=settings.attempt_seconds),
        stop_limit=timedelta(seconds=settings.stop_seconds),
        claim_size=settings.chunk_size,
        return_path=settings.return_path,
    )


def duties_of(settings: Settings, *, store: Store, queue: Queue) -> list[sweep.Duty]:
    """The duties of upkeep, each with its pause."""
    doubt_delay = timedelta(seconds=settings.doubt_delay_seconds)
    publish = partial(
        sweep.publish_due,
        store=store,
        queue=queue,
        chunk_size=settings.chunk_size,
        again_after=timedelta(seconds=settings.wake_up_seconds),
    )
    retention = timedelta(days=settings.retention_days)
    return [
        (publish, settings.sweep_seconds),
        (partial(sweep.recover_lapsed, store=store, doubt_delay=doubt_delay), settings.sweep_seconds),
        (partial(sweep.fail_expired, store=store), settings.sweep_seconds),
        (partial(sweep.prune_finished, store=store, retention=retention), PRUNE_SECONDS),
    ]
