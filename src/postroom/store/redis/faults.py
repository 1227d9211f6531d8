"""Translates what Redis and its driver report into our errors: one sentence that says what, which, what now."""

from redis import exceptions

from postroom.errors import OutcomeUnknown, StoreError, StoreUnavailable


class Unfit(StoreUnavailable):
    """This Redis answers, but must not be used as it is; nothing was written. Only its operator can help."""


_REFUSALS = {  # by the first word of the reply
    "OOM": "has no memory left: raise its maxmemory, or prune emails earlier",
    "READONLY": "is a read-only replica: name the primary instead",
    "LOADING": "is still loading its data from disk: try again when it is ready",
    "MISCONF": "cannot write to its disk: see its log, and free some space",
    "NOPERM": "does not let our user run a command: give the user all rights on the keys postroom:*",
    "NOAUTH": "wants a password: put it into the URL",
    "WRONGPASS": "refuses our user or password: correct them in the URL",
    "DENIED": "serves only its own host (protected-mode): give it a password, and put that into the URL",
    "NOREPLICAS": "has lost too many of its replicas to accept a write: see min-replicas-to-write in its configuration",
    "BUSY": "is busy with a script of another program: wait, or end that with SCRIPT KILL",
    "MASTERDOWN": "is a replica without its primary: name the primary instead",
    "CLUSTERDOWN": "is a cluster, which is not supported: name a single server",
    "MOVED": "is a cluster, which is not supported: name a single server",
    "CROSSSLOT": "is a cluster, which is not supported: name a single server",
}
_FOR_OPERATORS = frozenset({"NOPERM", "NOAUTH", "WRONGPASS", "DENIED", "CLUSTERDOWN", "MOVED", "CROSSSLOT"})


def of_connection(address: str, error: Exception, *, in_doubt: bool) -> StoreError:
    """The error to raise when a connection breaks, stalls or is refused; `in_doubt` when a write had been sent."""
    if (refused := _refused(address, error)) is not None:
        return refused
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        sentence = f"Redis at {address} does not answer in time: see whether it runs, and is not overloaded"
    else:
        sentence = f"Redis at {address} cannot be reached: see whether it runs, and listens there ({error})"
    return OutcomeUnknown(sentence) if in_doubt else StoreUnavailable(sentence)


def of_reply(address: str, error: exceptions.ResponseError) -> StoreError:
    """The error to raise when Redis refuses a command. One that it cannot make sense of is a bug of ours."""
    return _refused(address, error) or StoreError(f"Redis at {address} refuses a command: {error}")


def not_on_disk(address: str) -> OutcomeUnknown:
    """The error to raise when a write happened, but is not known to be on disk."""
    return OutcomeUnknown(
        f"Redis at {address} did not bring a write to disk in time: see whether its disk is overloaded"
    )


def _refused(address: str, error: Exception) -> StoreError | None:
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    if code == "EXECABORT":  # Transaction discarded because of: OOM command not allowed …
        code = str(error).partition("because of: ")[2].partition(" ")[0]
    if isinstance(error, exceptions.AuthenticationError) and code not in _REFUSALS:
        code = "WRONGPASS"  # servers without a password, and old ones, have other words for it
    if code not in _REFUSALS:
        return None
    kind = Unfit if code in _FOR_OPERATORS else StoreUnavailable
    return kind(f"Redis at {address} {_REFUSALS[code]}")
