"""A turn whose every connection to the relay is busy."""

import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from postroom.deliver.held import SMALL_BYTES
from postroom.mail.email import Address, Lane, Status
from postroom.store.sqlite import SqliteStore
from tests import make
from tests.sending import transports
from tests.smtpd import Hold, Say, Smtpd
from tests.turns import turn


def test_stop_is_heard_while_every_connection_is_busy(tmp_path: Path) -> None:
    stalled = Hold(threading.Event())
    with (
        closing(SqliteStore(tmp_path / "store.sqlite3")) as store,
        Smtpd() as relay,
        transports() as make_transport,
    ):
        relay.script.on("rcpt", stalled)
        at = store.clock()
        emails = make.stored(store, at, make.email(at), make.email(at))
        verdicts = turn(
            store,
            make_transport(relay.url, connections=1),
            *[email.id for email in emails],
            stopping=stalled.reached.is_set,
            stop_limit=timedelta(milliseconds=1),
        )
        stalled.until.set()
        assert verdicts == {"released": 2}
        assert store.counts()[Status.QUEUED] == 2


def test_small_email_does_not_wait_for_large_ones_that_the_relay_takes_slowly(tmp_path: Path) -> None:
    stalled = Hold(threading.Event())
    with (
        closing(SqliteStore(tmp_path / "store.sqlite3")) as store,
        Smtpd() as relay,
        transports() as make_transport,
    ):
        relay.script.on("mail", stalled, Say("250 2.1.0 Ok"), only="<large@")
        at, large = store.clock(), Address("large@example.org")
        attachments = (make.attachment(bytes(SMALL_BYTES)),)
        first, second = (make.email(at, sender=large, attachments=attachments) for _ in range(2))
        small = make.email(at, lane=Lane.BULK)
        make.stored(store, at, first, second, small)
        working = threading.Thread(
            target=turn, args=(store, make_transport(relay.url, connections=4)), kwargs={"bytes_under_way": 1}
        )
        working.start()
        relay.wait_for(1)
        assert [message.mail_from for message in relay.received] == [small.sender.addr]
        assert store.counts()[Status.SENDING] >= 2
        stalled.until.set()
        relay.wait_for(3)
        working.join()
        assert store.counts()[Status.SENT] == 3
