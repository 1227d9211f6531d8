"""What MongoStore acknowledged is there after the worst: the server killed, the link cut, a client dead in between."""

import json
import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from postroom.errors import OutcomeUnknown, StoreError, StoreUnavailable
from postroom.mail.email import Status
from postroom.store.base import Added, KeyReused, Submission
from postroom.store.mongo import MongoStore
from tests import make
from tests.make import ACCOUNT, HOUR, SECOND
from tests.servers.link import Link
from tests.servers.mongodb import MongoDB

DEADLINE_SECONDS = 60.0


@pytest.fixture
def name() -> str:
    """A database of the test's own."""
    return f"durability_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def direct(own_mongodb: MongoDB, name: str) -> Iterator[MongoStore]:
    """A store that reaches the server as stores do."""
    store = MongoStore(own_mongodb.url(name))
    yield store
    store.close()


@pytest.fixture
def link(own_mongodb: MongoDB) -> Iterator[Link]:
    link = Link(own_mongodb.port)
    yield link
    link.close()


@pytest.fixture
def store(link: Link, name: str) -> Iterator[MongoStore]:
    """A store that reaches the server over the link."""
    store = MongoStore(f"mongodb://127.0.0.1:{link.port}/{name}?directConnection=true")
    store.ping()
    yield store
    store.close()


class Sender(threading.Thread):
    """Adds emails without end, claims and settles some, and keeps the books of what was acknowledged."""

    def __init__(self, store: MongoStore) -> None:
        super().__init__(daemon=True)
        self.store = store
        self.accepted: list[str] = []
        self.sent: list[str] = []
        self.refusals: list[StoreError] = []
        self._more, self._ending = threading.Condition(), threading.Event()

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                self._turn()
            except StoreError as error:
                self.refusals.append(error)
            with self._more:
                self._more.notify_all()

    def _turn(self) -> None:
        now = self.store.clock()
        emails = make.stored(self.store, now, *(make.email(now) for _ in range(5)))
        self.accepted += [email.id for email in emails]
        claims = make.claimed(self.store, now, *emails[:2])
        self.sent += self.store.settle([make.sent(claim, now) for claim in claims], now=now)

    def wait_for(self, more: int) -> None:
        """Returns when so many more emails were sent."""
        wanted = len(self.sent) + more
        with self._more:
            assert self._more.wait_for(lambda: len(self.sent) >= wanted, DEADLINE_SECONDS)

    def end(self) -> None:
        self._ending.set()
        self.join(DEADLINE_SECONDS)


@pytest.mark.slow
def test_kill_9_in_a_loop_loses_nothing_that_was_acknowledged(
    own_mongodb: MongoDB, direct: MongoStore, name: str
) -> None:
    sender = Sender(direct)
    sender.start()
    for _ in range(5):
        sender.wait_for(20)
        own_mongodb.restart()
    sender.wait_for(2)
    sender.end()
    with own_mongodb.client() as client:
        stored = {d["_id"]: d["status"] for d in client[name]["emails"].find({}, {"status": 1})}
        contents = {d["_id"] for d in client[name]["contents"].find({}, {"_id": 1})}
    assert not set(sender.accepted) - set(stored)
    assert {stored[email_id] for email_id in sender.sent} == {Status.SENT}
    assert set(stored) == contents


def test_add_is_acknowledged_once_when_the_answer_to_its_commit_is_lost(link: Link, store: MongoStore) -> None:
    now = store.clock()
    link.cut_after(b"commitTransaction")
    [email] = make.stored(store, now, make.email(now))
    assert link.was_cut.is_set()
    assert store.get(ACCOUNT, email.id) == email
    assert store.backlog() == 1


def test_add_is_done_again_when_its_link_is_cut_before_the_commit(link: Link, store: MongoStore) -> None:
    now = store.clock()
    link.cut_after(b"max_attempts")
    [email] = make.stored(store, now, make.email(now))
    assert link.was_cut.is_set()
    assert store.get(ACCOUNT, email.id) == email
    assert store.backlog() == 1


def test_add_says_so_when_it_cannot_know_whether_it_was_done(link: Link, store: MongoStore) -> None:
    now = store.clock()
    link.cut_after(b"commitTransaction", for_good=True)
    with pytest.raises(OutcomeUnknown, match="may or may not have happened"):
        make.stored(store, now, make.email(now))
    store.close()


@pytest.mark.parametrize("code", [11601, 100])  # Interrupted, UnsatisfiableWriteConcern
def test_add_says_so_when_its_commit_was_carried_out_and_refused(
    own_mongodb: MongoDB, direct: MongoStore, code: int
) -> None:
    """As when an operator ends the operation while it waits for the majority; the driver takes that for a failure."""
    now = direct.clock()
    email = make.email(now)
    refused = {"failCommands": ["commitTransaction"], "writeConcernError": {"code": code, "errmsg": "refused"}}
    with own_mongodb.client() as client:
        client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": refused})
    with pytest.raises(OutcomeUnknown, match="may or may not have happened"):
        make.stored(direct, now, email)
    assert direct.get(ACCOUNT, email.id) == email


def test_settle_is_done_once_when_its_answer_is_lost(link: Link, store: MongoStore) -> None:
    now = store.clock()
    emails = make.stored(store, now, make.email(now), make.email(now))
    claims = make.claimed(store, now, *emails)
    link.cut_after(b"last_claim")
    assert store.settle([make.sent(claim, now) for claim in claims], now=now) == {email.id for email in emails}
    assert link.was_cut.is_set()


def test_settle_says_so_when_it_cannot_know_whether_it_was_done(
    link: Link, store: MongoStore, direct: MongoStore
) -> None:
    now = store.clock()
    [claim] = make.claimed(store, now, make.one(store, now))
    link.cut_after(b"last_claim", for_good=True)
    with pytest.raises(OutcomeUnknown, match="may or may not have happened"):
        store.settle([make.sent(claim, now)], now=now)
    assert make.found(direct, claim.email).life.status is Status.SENT


def test_key_of_a_client_that_died_before_its_commit_is_free_within_seconds(
    own_mongodb: MongoDB, direct: MongoStore, name: str
) -> None:
    now = direct.clock()
    key = make.idempotency_key(now + HOUR)
    again = make.submission(key=key, answer="new")
    with own_mongodb.client() as other, other.start_session() as session:
        session.start_transaction()
        taken = {"key": json.dumps([ACCOUNT, key.endpoint, key.key]), "expires_at": key.expires_at}
        other[name]["contents"].insert_one({"_id": "x", "idempotency": taken}, session=session)
        with pytest.raises(StoreUnavailable, match="same idempotency key is under way"):
            direct.add([again], now=now, wake_up_at=now + SECOND)
        assert added_in_the_end(direct, again) == [Added(answer="new", replayed=False)]


def added_in_the_end(store: MongoStore, submission: Submission) -> list[Added | KeyReused]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return store.add([submission], now=store.clock(), wake_up_at=store.clock())
        except StoreUnavailable:
            assert time.monotonic() < deadline
