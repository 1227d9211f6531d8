"""What went wrong with the broker, in one sentence that says what to do, without its password."""

from typing import Any

from amqp import exceptions as amqp_errors

REFUSALS = (
    amqp_errors.AccessRefused,
    amqp_errors.NotAllowed,
    amqp_errors.PreconditionFailed,
    amqp_errors.ResourceLocked,
)
"""The broker is there and does not want us; only people can change that."""


def where(connection: Any) -> str:
    """The broker that a kombu connection leads to."""
    return f"the broker at {connection.hostname}:{connection.port or 5672} (CELERY_BROKER_URL)"


def sentence(error: BaseException, connection: Any, *, patience_seconds: float) -> str:
    """The fault of a connection that waits so long for each answer."""
    broker, text = where(connection), getattr(error, "reply_text", None) or str(error)
    match error:
        case amqp_errors.PreconditionFailed():
            return f"{broker} has a queue with other arguments; delete that queue, it is made anew ({text})"
        case amqp_errors.AccessRefused():
            return f"{broker} refuses this user or password ({text})"
        case amqp_errors.NotAllowed():
            return f"{broker} has no such virtual host, or this user may not use it ({text})"
        case amqp_errors.ResourceLocked():
            return f"{broker} has a worker of this name already; give this one another --hostname ({text})"
        case TimeoutError():
            return f"{broker} did not answer within {patience_seconds:g} s; it is frozen, or short of memory or disk"
        case amqp_errors.MessageNacked():
            return f"{broker} took no more wake-ups; is its queue full, or down? A queue that stays down: delete it"
        case OSError() if error.strerror:
            return f"{broker} cannot be reached ({error.strerror})"
    return f"{broker} failed ({type(error).__name__}: {text})"
