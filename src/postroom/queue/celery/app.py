"""The Celery application: every setting that our promises rest on, with its reason."""

from typing import Any

from celery import Celery

from postroom.queue.celery import tls, topology

RESULTS_KEPT_SECONDS = 24 * 3600
LONGEST_TASK_SECONDS = 1700  # below the 30 minutes after which RabbitMQ takes a message back, above the longest turn

SETTINGS: dict[str, Any] = {
    # queues: direct exchange, quorum queues, made by whoever comes first
    "task_queues": topology.QUEUES,
    "task_default_queue": "postroom.normal",
    "task_default_exchange": topology.EXCHANGE.name,
    "task_default_routing_key": "normal",
    "task_create_missing_queues": False,
    # the broker may be away at any time, for any time
    "broker_heartbeat": 10,
    "broker_connection_timeout": 4,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,  # a queue may be deleted at any time, also just before it is consumed
    "broker_pool_acquire_timeout": 3,
    "broker_transport_options": {},  # no confirm_publish: confirms of events would freeze a worker
    # a wake-up is acknowledged when its turn has ended, and comes back when its process died
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_retry_on_worker_lost": False,
    "task_time_limit": LONGEST_TASK_SECONDS,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    # processes
    "worker_consumer": "postroom.queue.celery.consumer:PatientConsumer",
    "worker_pool": "postroom.queue.celery.pool:ChildPool",
    "worker_prefetch_multiplier": 1,
    "worker_max_tasks_per_child": 2000,
    "worker_max_memory_per_child": 300_000,
    "worker_proc_alive_timeout": 30,
    "worker_soft_shutdown_timeout": 0,  # it would be slept through, and children go on meanwhile
    "worker_enable_soft_shutdown_on_idle": False,
    "worker_redirect_stdouts": False,
    # JSON and nothing else
    "accept_content": ["json"],
    "task_serializer": "json",
    "result_serializer": "json",
    "result_accept_content": ["json"],
    # what dashboards show: chunks and their counts, never an address
    "task_ignore_result": False,
    "result_expires": RESULTS_KEPT_SECONDS,
    "worker_send_task_events": True,
    "task_send_sent_event": False,
    "task_track_started": False,
    # a result store that is away costs a chunk seconds, not minutes
    "mongodb_backend_settings": {"serverSelectionTimeoutMS": 1500, "connectTimeoutMS": 1500, "timeoutMS": 3000},
    "redis_socket_connect_timeout": 1.5,
    "redis_socket_timeout": 3.0,
    "result_backend_transport_options": {"retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0.2}},
}


def create_app(broker_url: str, result_backend: str | None = None) -> Any:
    """A Celery application for this broker, with chunk results in MongoDB (`mongodb://…`), Redis (`redis://…`) or, with
    None, nowhere. Connects to nothing."""
    app = Celery("postroom", broker=broker_url, set_as_current=False)
    app.conf.update(SETTINGS, broker_use_ssl=tls.options(broker_url))
    app.backend_cls = _backend(result_backend)  # the setting would give way to the environment's variable
    return app


def _backend(url: str | None) -> str:
    if url and url.startswith("mongodb"):
        return f"postroom.queue.celery.results:MongoResults+{url}"
    if url and url.startswith("rediss://") and "ssl_cert_reqs=" not in url:  # Celery wants it said; the store means it
        return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"
    return url or "disabled://"
