"""Wake-ups over RabbitMQ, as Celery tasks: the publisher's side, and the Celery application that workers run."""

from postroom.queue.celery.adapter import CeleryQueue
from postroom.queue.celery.app import create_app
from postroom.queue.celery.results import ping as ping_results

__all__ = ["CeleryQueue", "create_app", "ping_results"]
