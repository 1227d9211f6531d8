"""What a Redis in trouble does to the store: a clear sentence in time, nothing lost, nothing half-done."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from redis.exceptions import ResponseError

from postroom.errors import OutcomeUnknown, StoreError, StoreUnavailable
from postroom.mail.email import Status
from postroom.store.base import Added, Query
from postroom.store.redis import RedisStore, faults
from tests import make
from tests.make import LEASE, SECOND
from tests.servers.link import Link
from tests.servers.redis import RedisServer, Start

LIMIT_SECONDS = 3.5

CALLS: dict[str, Callable[[RedisStore], object]] = {
    "add": lambda s: s.add([make.submission()], now=s.clock(), wake_up_at=s.clock()),
    "replay": lambda s: s.replay(make.ACCOUNT, make.idempotency_key(s.clock()), now=s.clock()),
    "claim_due": lambda s: s.claim_due(10, worker="w1", now=s.clock(), lease=LEASE),
    "due": lambda s: s.due(10, now=s.clock(), wake_up_again_at=s.clock()),
    "recover": lambda s: s.recover(10, now=s.clock(), doubt_delay=SECOND),
    "list": lambda s: s.list(Query(account=make.ACCOUNT, limit=10)),
    "cancel": lambda s: s.cancel(make.ACCOUNT, "unknown", now=s.clock()),
    "backlog": lambda s: s.backlog(),
    "find_key": lambda s: s.find_key("unknown"),
    "ping": lambda s: s.ping(),
}


@pytest.fixture
def server(start_redis: Start) -> RedisServer:
    return start_redis()


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    """A store that is connected."""
    store = RedisStore(server.url)
    store.ping()
    yield store
    store.close()


def refusal(call: Callable[[RedisStore], object], store: RedisStore) -> str:
    """The sentence of a call that must fail, in time, and surely have written nothing."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as refused:
        call(store)
    assert time.monotonic() - began < LIMIT_SECONDS
    return str(refused.value)


@pytest.mark.parametrize("name", CALLS)
def test_server_that_is_down_is_told_at_once(server: RedisServer, store: RedisStore, name: str) -> None:
    server.kill()
    assert "cannot be reached" in refusal(CALLS[name], store)


@pytest.mark.parametrize("name", ["add", "backlog"])
def test_frozen_server_is_told_in_time_and_has_written_nothing(
    server: RedisServer, store: RedisStore, name: str
) -> None:
    with server.frozen():
        assert "does not answer in time" in refusal(CALLS[name], store)
        assert "does not answer in time" in refusal(CALLS[name], store)
    store.ping()
    assert sum(store.counts().values()) == 0


def test_server_frozen_with_a_password_is_told_in_time(start_redis: Start) -> None:
    server = start_redis(requirepass="secret")
    store = RedisStore(server.url)
    with server.frozen():
        refusal(CALLS["add"], store)
    store.close()


def test_clock_goes_on_while_the_server_is_away(server: RedisServer, store: RedisStore) -> None:
    before = store.clock()
    server.kill()
    assert before <= store.clock() < before + 10 * SECOND


def test_memory_that_ran_out_within_a_transaction_is_told_as_such() -> None:
    said = "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'."
    error = faults.of_reply("redis.example:6379", ResponseError(said))
    assert isinstance(error, StoreUnavailable)
    assert "no memory left" in str(error)


def test_full_memory_refuses_submissions_and_lets_accepted_emails_end(server: RedisServer, store: RedisStore) -> None:
    now = store.clock()
    first, second = make.stored(store, now, make.email(now), make.email(now))
    server.ask("CONFIG", "SET", "maxmemory", "1mb")
    assert "no memory left" in refusal(CALLS["add"], store)
    large = make.email(attachments=(make.attachment(b"content"),))
    assert "no memory left" in refusal(lambda s: s.add([make.submission(large)], now=now, wake_up_at=now), store)
    assert "no memory left" in refusal(CALLS["ping"], store)
    assert store.attachments(large.id) == []
    [claim] = make.claimed(store, now, first)
    assert store.fence({first.id: claim.token}, now=now, lease=LEASE) == {first.id}
    assert store.settle([make.sent(claim, now)], now=now) == {first.id}
    store.cancel(second.account, second.id, now=now)
    assert store.prune(10, now=now, finished_before=now + SECOND) == 2
    assert sum(store.counts().values()) == 0


def test_server_that_becomes_a_replica_is_told(server: RedisServer, store: RedisStore, start_redis: Start) -> None:
    other = start_redis()
    server.ask("REPLICAOF", "127.0.0.1", other.port)
    assert "read-only replica" in refusal(CALLS["add"], store)


def test_user_without_the_right_to_a_command_is_told(server: RedisServer, store: RedisStore) -> None:
    server.ask("ACL", "SETUSER", "default", "-zadd")
    with pytest.raises(StoreError):
        CALLS["add"](store)
    server.ask("ACL", "SETUSER", "default", "-evalsha")
    assert "does not let our user run a command" in refusal(CALLS["add"], store)


def test_restarted_server_is_used_at_once_with_all_that_was_stored(server: RedisServer, store: RedisStore) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.email(now))
    server.restart()
    [claim] = make.claimed(store, now, email)
    server.restart()
    assert store.settle([make.sent(claim, now)], now=now) == {email.id}


def test_forgotten_scripts_are_sent_again(server: RedisServer, store: RedisStore) -> None:
    now = store.clock()
    for _ in range(2):
        server.ask("SCRIPT", "FLUSH")
        [email] = make.stored(store, now, make.email(now))
        server.ask("SCRIPT", "FLUSH")
        assert [e.id for e in store.list(Query(account=make.ACCOUNT, limit=1)).emails] == [email.id]


def test_connections_that_the_server_has_closed_are_replaced(server: RedisServer, store: RedisStore) -> None:
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    store.ping()
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert store.backlog() == 0


def connections(server: RedisServer) -> int:
    """How many the store has."""
    return sum(client["name"] == "postroom" for client in server.ask("CLIENT LIST"))


def test_forked_child_opens_connections_of_its_own(server: RedisServer, store: RedisStore) -> None:
    now = store.clock()
    [email] = make.stored(store, now, make.email(now))
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            assert store.get(email.account, email.id) == email
            assert connections(server) == 2
            make.claimed(store, now, email)
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found = store.get(email.account, email.id)
    assert found is not None
    assert found.life.status is Status.SENDING
    assert connections(server) == 1


@pytest.fixture
def link(server: RedisServer) -> Iterator[Link]:
    """A link to the server that can be cut."""
    link = Link(server.port)
    yield link
    link.close()


@pytest.fixture
def far_store(link: Link) -> Iterator[RedisStore]:
    """A store at the other end of the link. Redis knows the scripts that are used here."""
    store = RedisStore(f"redis://127.0.0.1:{link.port}/0")
    now = store.clock()
    [claim] = make.claimed(store, now, *make.stored(store, now, make.email(now)))
    store.settle([make.sent(claim, now)], now=now)
    yield store
    store.close()


def test_submission_whose_reply_was_lost_is_found(link: Link, far_store: RedisStore) -> None:
    now = far_store.clock()
    email = make.email(now)
    link.cut_after(b"EXEC")
    answers = far_store.add([make.submission(email, answer="mine")], now=now, wake_up_at=now)
    assert link.was_cut.is_set()
    assert answers == [Added(answer="mine", replayed=False)]
    assert far_store.get(email.account, email.id) == email


def test_submission_that_was_cut_off_is_in_doubt_and_can_be_repeated(link: Link, far_store: RedisStore) -> None:
    now = far_store.clock()
    submission = make.submission(make.email(now), key=make.idempotency_key(now + SECOND))
    link.cut_after(b"EXEC", deliver=False)
    with pytest.raises(OutcomeUnknown):
        far_store.add([submission], now=now, wake_up_at=now)
    assert far_store.add([submission], now=now, wake_up_at=now) == [Added(answer=submission.answer, replayed=False)]


def test_settlement_whose_reply_was_lost_is_in_doubt_and_written_once(link: Link, far_store: RedisStore) -> None:
    now = far_store.clock()
    [claim] = make.claimed(far_store, now, *make.stored(far_store, now, make.email(now)))
    settlement = make.sent(claim, now)
    before = far_store.counts()[Status.SENT]
    link.cut_after(b"EVALSHA")
    with pytest.raises(OutcomeUnknown):
        far_store.settle([settlement], now=now)
    assert far_store.settle([settlement], now=now) == set()
    assert far_store.counts()[Status.SENT] == before + 1


def test_large_emails_are_claimed_in_several_steps(start_redis: Start) -> None:
    store = RedisStore(start_redis(appendonly="no").url, durability="relaxed")  # thirty megabytes need no slow disk
    now = store.clock()
    emails = [make.stored(store, now, make.email(now, html="x" * 6_000_000))[0] for _ in range(5)]
    assert len(store.claim_due(10, worker="w1", now=now, lease=LEASE)) == 3
    claims = store.claim([e.id for e in [*emails, make.email()]], worker="w1", now=now, lease=LEASE)
    assert [c.email.id for c in claims] == [e.id for e in emails[3:]]
    again = now + LEASE
    assert store.recover(10, now=again, doubt_delay=SECOND) == 5
    assert len(store.claim([e.id for e in emails], worker="w1", now=again, lease=LEASE)) == 3
    assert len(store.claim([e.id for e in emails], worker="w1", now=again, lease=LEASE)) == 2
    store.close()


def test_claims_that_were_marked_when_the_link_was_cut_are_given_back(link: Link, far_store: RedisStore) -> None:
    now = far_store.clock()
    emails = make.stored(far_store, now, *(make.email(now) for _ in range(3)))
    before = far_store.counts()
    link.cut_after(b"postroom:bodies")
    with pytest.raises(StoreUnavailable):
        far_store.claim_due(10, worker="w1", now=now, lease=LEASE)
    assert link.was_cut.is_set()
    assert far_store.counts() == before
    assert [far_store.get(make.ACCOUNT, e.id) for e in emails] == emails
    assert far_store.recover(10, now=now + LEASE, doubt_delay=SECOND) == 0
    claims = far_store.claim([e.id for e in emails], worker="w1", now=now, lease=LEASE)
    assert [(c.email.id, c.email.life.attempts) for c in claims] == [(e.id, 1) for e in emails]


def test_closed_store_says_so(server: RedisServer) -> None:
    store = RedisStore(server.url)
    store.ping()
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="was closed"):
        store.backlog()
